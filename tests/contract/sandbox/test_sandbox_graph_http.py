"""Graph's stand-in over HTTP: calendars, views, delta rounds, events, and what goes wrong."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import urllib3

from sandbox.microsoft.faults import API
from sandbox.server import Running, running

ME = "a@contoso.example"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
WINDOW = {"startDateTime": "2026-11-22T00:00:00Z", "endDateTime": "2026-12-20T00:00:00Z"}
PREFER = 'outlook.timezone="UTC", IdType="ImmutableId"'
TEAMS = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0?context=%7b%7d"
GUEST = "c@other.example"
DAILY = ["RRULE:FREQ=DAILY;COUNT=5"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Running) -> Running:
    shared.world.__init__()
    shared.world.base_url = shared.url
    shared.world.set_clock(NOW, frozen=True)
    shared.create_calendar(account=ME, refresh_token="r1", provider="microsoft")
    return shared


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    manager = urllib3.PoolManager(retries=False, timeout=10, maxsize=8)
    yield manager
    manager.clear()


class Graph:
    """Graph as a client sees it, signed in as the mailbox's owner."""

    def __init__(self, http: urllib3.PoolManager, sandbox: Running) -> None:
        self.http, self.root = http, f"{sandbox.graph_url}/v1.0"
        self.sandbox = sandbox
        self.signed_in = ME
        self.token: str | None = None
        """Instead of a fresh one."""

    def raw(self, path: str, prefer: str | None = PREFER, **query: str) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else f"{self.root}/{path}"
        url += f"?{urlencode(query, safe='$')}" if query else ""
        token = self.token or self.sandbox.world.issue_access_token(self.signed_in)
        headers = {"authorization": f"Bearer {token}"} | ({"prefer": prefer} if prefer else {})
        return self.http.request("GET", url, headers=headers)

    def __call__(self, path: str, prefer: str | None = PREFER, **query: str) -> Any:
        reply = self.raw(path, prefer, **query)
        assert reply.status == 200, reply.data
        return reply.json()

    def pages(self, path: str, prefer: str | None = PREFER, **query: str) -> list[Any]:
        """All pages from this one on."""
        found = [self(path, prefer, **query)]
        while (link := found[-1].get("@odata.nextLink")) is not None:
            found.append(self(link, prefer))
        return found

    def view(self, **query: str) -> list[Any]:
        """Everything in the window."""
        return [
            row
            for page in self.pages("me/calendarView", **(WINDOW | {"$top": "1000"} | query))
            for row in page["value"]
        ]

    def round(self, link: str | None = None) -> tuple[list[Any], str]:
        """A delta round: its entries, and the next one's link."""
        found = self.pages(link) if link is not None else self.pages("me/calendarView/delta", **WINDOW)
        return [row for page in found for row in page["value"]], found[-1]["@odata.deltaLink"]


@pytest.fixture
def graph(http: urllib3.PoolManager, sandbox: Running) -> Graph:
    return Graph(http, sandbox)


def refused(reply: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["code"]


def kinds(rows: list[Any]) -> dict[str, int]:
    """How many of each type; tombstones under ``removed``."""
    counts: dict[str, int] = {}
    for row in rows:
        name = "removed" if "@removed" in row else row["type"]
        counts[name] = counts.get(name, 0) + 1
    return counts


# -- calendars and people


def test_the_user_and_their_calendars(graph: Graph, sandbox: Running) -> None:
    made = [sandbox.create_calendar(account=ME, summary=f"C{n}", provider="microsoft") for n in range(11)]
    assert graph("me")["mail"] == ME
    pages = graph.pages("me/calendars")
    assert [len(page["value"]) for page in pages] == [10, 2]
    own = pages[0]["value"][0]
    assert own["isDefaultCalendar"] is True
    assert graph("me/calendar")["id"] == own["id"]
    assert graph(f"me/calendars/{made[3].calendar_id}")["name"] == "C3"
    assert len(graph("me/calendars", **{"$top": "100"})["value"]) == 12


def test_a_calendar_that_is_not_there(graph: Graph, sandbox: Running) -> None:
    other = sandbox.create_calendar(account="b@contoso.example", provider="microsoft").calendar_id
    gone = sandbox.create_calendar(account=ME, provider="microsoft").calendar_id
    sandbox.delete_calendar(gone)
    for calendar in (other, gone):
        assert refused(graph.raw(f"me/calendars/{calendar}/calendarView", **WINDOW)) == (404, "ErrorItemNotFound")
    assert refused(graph.raw("me/calendars/nonsense/calendarView", **WINDOW)) == (400, "ErrorInvalidIdMalformed")


def test_a_token_without_the_scope_sees_nothing(graph: Graph, sandbox: Running) -> None:
    graph.token = sandbox.world.issue_access_token(ME, scope="https://graph.microsoft.com/User.Read")
    assert graph("me")["mail"] == ME
    assert refused(graph.raw("me/calendarView", **WINDOW)) == (403, "ErrorAccessDenied")
    graph.token = "nonsense"
    assert refused(graph.raw("me")) == (401, "InvalidAuthenticationToken")


def test_google_and_microsoft_do_not_take_each_others_tokens(graph: Graph, sandbox: Running) -> None:
    sandbox.create_calendar(account="g@example.com", refresh_token="g1")
    google = sandbox.issue_access_token("g@example.com")
    url = f"{sandbox.google_url}calendars/primary/events"
    graphs = {"authorization": f"Bearer {sandbox.issue_access_token(ME)}"}
    assert graph.http.request("GET", url, headers=graphs).status == 401
    graph.token = google
    assert graph.raw("me").status == 401


# -- calendar views


def test_a_view_has_instances_and_no_masters(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)["id"]
    sandbox.move_event(ME, sandbox.next_instance(ME, series), by=timedelta(hours=1))
    sandbox.create_event(ME, start="2026-11-24T09:00")
    rows = graph.view()
    assert kinds(rows) == {"singleInstance": 1, "exception": 1, "occurrence": 4}
    assert {row["seriesMasterId"] for row in rows if row["type"] != "singleInstance"} == {series}
    assert kinds(graph("me/calendar/events")["value"]) == {"singleInstance": 1, "seriesMaster": 1}


def test_a_page_has_ten_events_unless_asked_for_more(graph: Graph, sandbox: Running) -> None:
    for n in range(25):
        sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}")
    pages = graph.pages("me/calendarView", **WINDOW)
    assert [len(page["value"]) for page in pages] == [10, 10, 5]
    assert len({row["id"] for page in pages for row in page["value"]}) == 25
    assert "@odata.nextLink" not in graph("me/calendarView", **WINDOW, **{"$top": "1000"})
    assert graph("me/calendarView", **WINDOW, **{"$count": "true", "$top": "1"})["@odata.count"] == 25
    link = urlsplit(pages[0]["@odata.nextLink"])
    assert f"{link.scheme}://{link.netloc}" == sandbox.url


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"$top": "1001"}, "BadRequest"),
        ({"$top": "0"}, "BadRequest"),
        ({"$select": "id,nonsense"}, "RequestBroker--ParseUri"),
        ({"$orderby": "nonsense"}, "ErrorInvalidUrlQuery"),
        ({"startDateTime": "2026-12-21T00:00:00Z"}, "ErrorInvalidParameter"),
        ({"startDateTime": "tomorrow"}, "ErrorInvalidParameter"),
        ({"startDateTime": ""}, "ErrorInvalidParameter"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_of_a_view(graph: Graph, query: dict[str, str], code: str) -> None:
    assert refused(graph.raw("me/calendarView", **(WINDOW | query))) == (400, code)


def test_a_selection_holds_only_what_it_names(graph: Graph, sandbox: Running) -> None:
    sandbox.create_event(ME, start="2026-11-24T09:00", title="B")
    sandbox.create_event(ME, start="2026-11-24T08:00", title="A")
    rows = graph.view(**{"$select": "subject,originalStart", "$orderby": "start/dateTime desc"})
    assert [row["subject"] for row in rows] == ["B", "A"]
    assert set(rows[0]) == {"@odata.etag", "id", "subject"}


@pytest.mark.parametrize(
    ("start", "minutes", "seen"),
    [
        ("2026-11-21T23:30:00Z", 30, False),
        ("2026-11-21T23:30:00Z", 31, True),
        ("2026-12-19T23:59:00Z", 5, True),
        ("2026-12-20T00:00:00Z", 5, False),
    ],
)
def test_a_view_holds_what_overlaps_it(graph: Graph, sandbox: Running, start: str, minutes: int, *, seen: bool) -> None:
    sandbox.create_event(ME, start=start, minutes=minutes)
    assert bool(graph.view()) == seen
    eastern = {"startDateTime": "2026-11-21T19:00:00-05:00", "endDateTime": "2026-12-20T00:00:00"}
    assert bool(graph.view(**eastern)) == seen


# -- how an event is told


def test_times_have_seven_digits_and_the_zone_that_was_asked_for(graph: Graph, sandbox: Running) -> None:
    made = sandbox.create_event(ME, start="2026-11-24T15:00")["id"]
    assert graph(f"me/events/{made}")["start"] == {"dateTime": "2026-11-24T14:00:00.0000000", "timeZone": "UTC"}
    asked = graph.raw(f"me/events/{made}", 'outlook.timezone="Pacific Standard Time", IdType="ImmutableId"')
    assert asked.json()["start"] == {"dateTime": "2026-11-24T06:00:00.0000000", "timeZone": "Pacific Standard Time"}
    assert asked.headers["preference-applied"] == 'outlook.timezone="Pacific Standard Time", idtype="ImmutableId"'
    assert asked.json()["originalStartTimeZone"] == "W. Europe Standard Time"
    assert refused(graph.raw(f"me/events/{made}", 'outlook.timezone="Mars"')) == (400, "TimeZoneNotSupportedException")


@pytest.mark.parametrize("zone", ["UTC", "Pacific Standard Time", "Asia/Tokyo"])
def test_a_whole_day_is_told_as_plain_midnights_in_any_zone(graph: Graph, sandbox: Running, zone: str) -> None:
    sandbox.create_event(ME, start="2026-11-24")
    [row] = graph.pages("me/calendarView", f'outlook.timezone="{zone}"', **WINDOW)[0]["value"]
    assert row["isAllDay"] is True
    assert (row["start"]["dateTime"], row["end"]["dateTime"]) == (
        "2026-11-24T00:00:00.0000000",
        "2026-11-25T00:00:00.0000000",
    )


def test_a_whole_day_keeps_the_midnights_of_its_own_zone(graph: Graph, sandbox: Running) -> None:
    sandbox.create_event(ME, start="2026-11-24", zone="Pacific/Auckland")
    sandbox.set_zone(ME, "America/Los_Angeles")
    early = {"startDateTime": "2026-11-23T10:59:00Z", "endDateTime": "2026-11-23T11:01:00Z"}
    assert [row["originalStartTimeZone"] for row in graph.view(**early)] == ["New Zealand Standard Time"]


def test_ids_are_mutable_on_each_page_that_forgets_to_ask(graph: Graph, sandbox: Running) -> None:
    for n in range(4):
        sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}")
    first = graph("me/calendarView", **WINDOW, **{"$top": "2"})
    second = graph(first["@odata.nextLink"], None)
    assert {len(row["id"]) for row in first["value"]} == {48}
    assert all(len(row["id"]) > 120 for row in second["value"])
    assert graph(f"me/events/{second['value'][0]['id']}")["id"] not in {row["id"] for row in first["value"]}
    entries = graph("me/calendarView/delta", None, **WINDOW)["value"]
    assert all(len(row["id"]) > 120 for row in entries)


def test_bodies_come_as_html_or_text(graph: Graph, sandbox: Running) -> None:
    made = sandbox.create_event(ME, start="2026-11-24T15:00", description='See <a href="https://x.example">this</a>')[
        "id"
    ]
    assert graph(f"me/events/{made}")["body"]["contentType"] == "html"
    text = graph(f"me/events/{made}", 'outlook.body-content-type="text"')["body"]
    assert text == {"contentType": "text", "content": "See  this"}


def test_a_teams_meeting_has_a_join_link_and_others_stand_in_the_place(graph: Graph, sandbox: Running) -> None:
    teams = graph(f"me/events/{sandbox.create_event(ME, start='2026-11-24T15:00', link=TEAMS)['id']}")
    assert (teams["isOnlineMeeting"], teams["onlineMeetingProvider"]) == (True, "teamsForBusiness")
    assert teams["onlineMeeting"] == {"joinUrl": TEAMS}
    zoom = "https://us02web.zoom.us/j/86012345678"
    told = graph(f"me/events/{sandbox.create_event(ME, start='2026-11-24T15:00', link=zoom)['id']}")
    assert (told["onlineMeeting"], told["location"]["displayName"]) == (None, zoom)
    roomy = sandbox.create_event(ME, start="2026-11-24T15:00", link=zoom, location="Room 1")
    told = graph(f"me/events/{roomy['id']}")
    assert (told["location"]["displayName"], zoom in told["body"]["content"]) == ("Room 1", True)


def test_the_join_link_may_come_with_a_later_change(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", online_meeting_late=True)
    made = sandbox.create_event(ME, start="2026-11-24T15:00", link=TEAMS)["id"]
    assert graph(f"me/events/{made}")["onlineMeeting"] is None
    sandbox.advance(timedelta(minutes=1))
    sandbox.retitle_event(ME, made, "With a link")
    assert graph(f"me/events/{made}")["onlineMeeting"] == {"joinUrl": TEAMS}


def test_people_and_their_answers(graph: Graph, sandbox: Running) -> None:
    made = sandbox.create_event(
        ME, start="2026-11-24T15:00", organizer="o@other.example", attendees=["c@other.example"]
    )
    told = graph(f"me/events/{made['id']}")
    assert told["organizer"]["emailAddress"]["address"] == "o@other.example"
    assert [one["emailAddress"]["address"] for one in told["attendees"]] == [ME, GUEST]
    assert (told["isOrganizer"], told["responseStatus"]["response"]) == (False, "accepted")
    sandbox.respond(ME, made["id"], "tentative")
    assert graph(f"me/events/{made['id']}")["responseStatus"]["response"] == "tentativelyAccepted"
    own = sandbox.create_event(ME, start="2026-11-24T16:00")
    assert graph(f"me/events/{own['id']}")["responseStatus"]["response"] == "organizer"


def test_a_meeting_cancelled_by_others_stays_as_cancelled(graph: Graph, sandbox: Running) -> None:
    made = sandbox.create_event(ME, start="2026-11-24T15:00", title="Call", organizer="o@other.example")["id"]
    sandbox.cancel_event(ME, made)
    [row] = graph.view()
    assert (row["isCancelled"], row["subject"], row["showAs"]) == (True, "Canceled: Call", "free")
    sandbox.restore_event(ME, sandbox.find_event(ME, "Call", cancelled=True))
    assert graph.view()[0]["isCancelled"] is False
    sandbox.delete_event(ME, made)
    assert graph.view() == []


def test_ones_own_cancelled_meeting_is_gone_and_a_declined_one_too(graph: Graph, sandbox: Running) -> None:
    own = sandbox.create_event(ME, start="2026-11-24T15:00")["id"]
    sandbox.cancel_event(ME, own)
    other = sandbox.create_event(ME, start="2026-11-24T15:00", organizer="o@other.example")["id"]
    sandbox.respond(ME, other, "declined")
    assert graph.view() == []
    for gone in (own, other):
        assert refused(graph.raw(f"me/events/{gone}")) == (404, "ErrorItemNotFound")
    sandbox.set_switches(provider="microsoft", preserve_declined=True)
    assert [row["responseStatus"]["response"] for row in graph.view()] == ["declined"]


def test_a_master_tells_its_pattern_and_its_cancelled_instances(graph: Graph, sandbox: Running) -> None:
    rule = ["RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH"]
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=rule)["id"]
    sandbox.delete_event(ME, sandbox.next_instance(ME, series))
    told = graph(f"me/events/{series}")
    assert told["type"] == "seriesMaster"
    assert told["recurrence"]["pattern"]["daysOfWeek"] == ["tuesday", "thursday"]
    assert told["recurrence"]["range"]["recurrenceTimeZone"] == "W. Europe Standard Time"
    asked = graph(f"me/events/{series}", **{"$select": "cancelledOccurrences"})
    assert len(asked["cancelledOccurrences"]) == 1


def test_ids_are_looked_up_in_their_own_mailbox_and_case_counts(graph: Graph, sandbox: Running) -> None:
    other = sandbox.create_calendar(account="b@contoso.example", provider="microsoft").calendar_id
    theirs = sandbox.create_event(other, start="2026-11-24T15:00")["id"]
    mine = sandbox.create_event(ME, start="2026-11-24T15:00")["id"]
    assert refused(graph.raw(f"me/events/{theirs}")) == (404, "ErrorItemNotFound")
    assert graph.raw(f"me/events/{mine.swapcase()}").status in (400, 404)
    assert refused(graph.raw("me/events/abc")) == (400, "ErrorInvalidIdMalformed")
    second = sandbox.create_calendar(account=ME, provider="microsoft").calendar_id
    assert refused(graph.raw(f"me/calendars/{second}/events/{mine}")) == (404, "ErrorItemNotFound")


# -- delta rounds


def test_a_first_round_has_bare_occurrences_whole_masters_and_whole_singles(graph: Graph, sandbox: Running) -> None:
    old = sandbox.create_event(ME, start="2024-01-08T10:00", recurrence=["RRULE:FREQ=WEEKLY"])["id"]
    sandbox.create_event(ME, start="2026-11-24T15:00", title="One")
    sandbox.create_event(ME, start="2027-11-24T15:00", title="Far")
    rows, _ = graph.round()
    assert kinds(rows) == {"seriesMaster": 1, "occurrence": 4, "singleInstance": 1}
    bare = next(row for row in rows if row["type"] == "occurrence")
    assert set(bare) == {"@odata.type", "@odata.etag", "id", "seriesMasterId", "type", "start", "end"}
    master = next(row for row in rows if row["type"] == "seriesMaster")
    assert (master["id"], master["start"]["dateTime"][:4]) == (old, "2024")


def test_a_round_tells_what_changed_and_then_nothing(graph: Graph, sandbox: Running) -> None:
    made = [sandbox.create_event(ME, start=f"2026-11-24T{hour}:00")["id"] for hour in ("09", "10", "11")]
    _, link = graph.round()
    sandbox.retitle_event(ME, made[0], "New")
    sandbox.delete_event(ME, made[1])
    rows, link = graph.round(link)
    assert {row["id"]: row.get("subject", row.get("@removed")) for row in rows} == {
        made[0]: "New",
        made[1]: {"reason": "deleted"},
    }
    assert set(next(row for row in rows if row["id"] == made[1])) == {"@odata.type", "id", "@removed"}
    assert graph.round(link)[0] == []


def test_the_window_of_a_link_is_frozen(graph: Graph, sandbox: Running) -> None:
    soon = sandbox.create_event(ME, start="2026-12-21T15:00")["id"]
    _, link = graph.round()
    sandbox.advance(timedelta(days=10))
    assert graph.round(link)[0] == []
    sandbox.retitle_event(ME, soon, "Outside still")
    rows, _ = graph.round(link)
    assert [(row["id"], "@removed" in row) for row in rows] == [(soon, True)]


def test_what_happens_outside_the_window_looks_like_a_deletion(graph: Graph, sandbox: Running) -> None:
    _, link = graph.round()
    far = sandbox.create_event(ME, start="2027-06-01T15:00", recurrence=DAILY)["id"]
    rows, _ = graph.round(link)
    assert [(row["id"], row["@removed"]["reason"]) for row in rows] == [(far, "deleted")]
    sandbox.set_switches(provider="microsoft", removed_reason="changed")
    assert [row["@removed"]["reason"] for row in graph.round(link)[0]] == ["changed"]


def test_one_deleted_occurrence_has_no_entry_and_its_series_is_told_whole(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)["id"]
    _, link = graph.round()
    gone = sandbox.next_instance(ME, series)
    sandbox.delete_event(ME, gone)
    rows, _ = graph.round(link)
    assert kinds(rows) == {"seriesMaster": 1, "occurrence": 4}
    assert gone not in {row["id"] for row in rows}


def test_a_changed_instance_is_told_alone_and_whole(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)["id"]
    _, link = graph.round()
    moved = sandbox.next_instance(ME, series)
    sandbox.move_event(ME, moved, by=timedelta(hours=2))
    rows, link = graph.round(link)
    assert [(row["id"], row["type"], "subject" in row) for row in rows] == [(moved, "exception", True)]
    sandbox.move_event(ME, moved, to="2027-01-24T15:00")
    assert ["@removed" in row for row in graph.round(link)[0]] == [True]


def test_a_retimed_series_leaves_its_old_instances_unmentioned(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)["id"]
    before, link = graph.round()
    sandbox.move_event(ME, series, by=timedelta(hours=1))
    rows, _ = graph.round(link)
    assert kinds(rows) == {"seriesMaster": 1, "occurrence": 5}
    assert len({row["id"] for row in rows} & {row["id"] for row in before}) == 1


def test_a_deleted_series_is_one_tombstone(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)["id"]
    _, link = graph.round()
    sandbox.delete_event(ME, series)
    rows, _ = graph.round(link)
    assert [(row["id"], "@removed" in row) for row in rows] == [(series, True)]


def test_a_page_size_is_a_hint_and_no_series_is_split(graph: Graph, sandbox: Running) -> None:
    sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=DAILY)
    for n in range(3):
        sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}")
    pages = graph.pages("me/calendarView/delta", f"{PREFER}, odata.maxpagesize=2", **WINDOW)
    assert sum(len(page["value"]) for page in pages) == 9
    assert max(len(page["value"]) for page in pages) >= 6
    assert len(pages) > 1


def test_a_change_between_two_pages_is_told_by_the_next_round(graph: Graph, sandbox: Running) -> None:
    made = [sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}")["id"] for n in range(4)]
    prefer = f"{PREFER}, odata.maxpagesize=1"
    first = graph("me/calendarView/delta", prefer, **WINDOW)
    told = first["value"][0]["id"]
    sandbox.delete_event(ME, told)
    rest = graph.pages(first["@odata.nextLink"], prefer)
    assert {row["id"] for page in rest for row in page["value"]} == set(made) - {told}
    rows, _ = graph.round(rest[-1]["@odata.deltaLink"])
    assert [row["id"] for row in rows] == [told]


def test_a_first_page_may_be_empty(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", empty_first_page=True)
    sandbox.create_event(ME, start="2026-11-24T15:00")
    pages = graph.pages("me/calendarView/delta", **WINDOW)
    assert [len(page["value"]) for page in pages] == [0, 1]
    again = graph.pages(pages[-1]["@odata.deltaLink"])
    assert [len(page["value"]) for page in again] == [0, 0]


def test_an_entry_may_come_twice_and_the_last_one_is_true(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", duplicates=True)
    for n in range(12):
        sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}", title=f"E{n}")
    rows, _ = graph.round()
    assert len(rows) > 12
    assert {row["subject"] for row in {row["id"]: row for row in rows}.values()} == {f"E{n}" for n in range(12)}


def test_a_round_may_repeat_the_one_before(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", replay=True)
    one, two = (sandbox.create_event(ME, start=f"2026-11-24T08:0{n}")["id"] for n in range(2))
    _, link = graph.round()
    sandbox.retitle_event(ME, one, "New")
    _, link = graph.round(link)
    sandbox.retitle_event(ME, two, "New")
    rows, link = graph.round(link)
    assert {row["id"] for row in rows} == {one, two}
    rows, link = graph.round(link)
    assert {row["id"] for row in rows} == {two}
    assert graph.round(link)[0] == []


@pytest.mark.parametrize("status", [410, 404, 400])
def test_a_link_expires_by_age(graph: Graph, sandbox: Running, status: int) -> None:
    sandbox.set_switches(provider="microsoft", delta_token_max_age_s=3600, expired_status=status)
    _, link = graph.round()
    assert graph.raw(link).status == 200
    sandbox.advance(timedelta(hours=2))
    assert refused(graph.raw(link)) == (status, "SyncStateNotFound")


def test_a_refusal_may_name_where_to_start_anew(graph: Graph, sandbox: Running) -> None:
    _, link = graph.round()
    sandbox.set_switches(provider="microsoft", gone_location=True)
    sandbox.change_access(ME)
    sandbox.create_event(ME, start="2026-11-24T15:00")
    reply = graph.raw(link)
    assert refused(reply) == (410, "SyncStateNotFound")
    rows = graph.pages(reply.headers["location"])[0]["value"]
    assert kinds(rows) == {"singleInstance": 1}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("sync_state_not_found", (410, "SyncStateNotFound")),
        ("sync_state_not_found_404", (404, "syncStateNotFound")),
        ("sync_state_invalid", (400, "SyncStateInvalid")),
        ("resync_required", (410, "Gone")),
        ("delta_bad_request", (400, "BadRequest")),
    ],
)
def test_a_link_can_be_lost_on_demand(graph: Graph, sandbox: Running, kind: str, answer: tuple[int, str]) -> None:
    sandbox.add_fault(kind)
    _, link = graph.round()
    assert refused(graph.raw(link)) == answer
    assert graph.raw(link).status == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"$select": "id"}, 200),
        ({"$top": "1"}, 200),
        ({"$expand": "x"}, 400),
        ({"$filter": "x"}, 400),
        ({"$orderby": "x"}, 400),
    ],
    ids=str,
)
def test_a_delta_round_takes_few_options(graph: Graph, sandbox: Running, query: dict[str, str], status: int) -> None:
    for n in range(2):
        sandbox.create_event(ME, start=f"2026-11-24T08:{n:02d}")
    reply = graph.raw("me/calendarView/delta", **WINDOW, **query)
    assert reply.status == status
    if status == 200:
        assert [("subject" in row) for row in reply.json()["value"]] == [True, True]


def test_events_without_a_window_cannot_be_tracked(graph: Graph) -> None:
    assert graph.raw("me/calendar/events/delta").status == 400
    assert refused(graph.raw("me/calendarView/delta")) == (400, "ErrorInvalidParameter")
    assert graph.raw("me/calendarView/delta", **{"$deltatoken": "latest"}).status == 400


def test_a_lagging_replica_shows_a_change_late(graph: Graph, sandbox: Running) -> None:
    made = sandbox.create_event(ME, start="2026-11-24T15:00", title="Old")["id"]
    _, link = graph.round()
    sandbox.set_switches(provider="microsoft", replication_lag_s=30)
    sandbox.retitle_event(ME, made, "New")
    rows, link = graph.round(link)
    assert (rows, graph.view()[0]["subject"], graph(f"me/events/{made}")["subject"]) == ([], "Old", "Old")
    sandbox.advance(timedelta(seconds=31))
    assert [row["subject"] for row in graph.round(link)[0]] == ["New"]
    assert graph.view()[0]["subject"] == "New"


# -- what goes wrong


@pytest.mark.parametrize("kind", API)
def test_every_failure_can_be_provoked(graph: Graph, sandbox: Running, kind: str) -> None:
    _, link = graph.round()
    sandbox.add_fault(kind, endpoint="calendarView.delta", retry_after=11, provider="microsoft")
    reply = graph.raw(link)
    expected = API[kind]()
    assert refused(reply) == (expected.status, expected.code)
    assert reply.headers["retry-after"] == "11"
    assert reply.headers["request-id"] == reply.json()["error"]["innerError"].get(
        "request-id", reply.headers["request-id"]
    )
    assert graph.raw(link).status == 200


def test_a_mailbox_fails_a_few_times_and_is_well_again(graph: Graph, sandbox: Running) -> None:
    other = sandbox.create_calendar(account="b@contoso.example", provider="microsoft")
    sandbox.add_fault("mailbox_not_enabled", endpoint="*", account=ME, times=2)
    graph.signed_in = other.account
    assert graph.raw("me/calendarView", **WINDOW).status == 200
    graph.signed_in = ME
    told = [graph.raw("me/calendarView", **WINDOW) for _ in range(3)]
    assert [reply.status for reply in told] == [404, 404, 200]
    assert refused(told[0])[1] == "MailboxNotEnabledForRESTAPI"


def test_no_more_than_four_requests_at_once_in_a_mailbox(
    graph: Graph, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()

    async def until_told(_seconds: float) -> None:
        while not answer.is_set():
            await asyncio.sleep(0.01)

    monkeypatch.setattr("sandbox.wire.sleep", until_told)
    sandbox.add_fault("slow", endpoint="calendarView", times=4)
    other = sandbox.create_calendar(account="b@contoso.example", provider="microsoft")
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(graph.raw("me/calendarView", **WINDOW).status))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while sum(sandbox.world.in_flight.values()) < 4:
        assert statuses == []
        threads[0].join(0.01)
    reply = graph.raw("me")
    assert (*refused(reply), reply.headers["retry-after"]) == (429, "ApplicationThrottled", "10")
    graph.signed_in = other.account
    assert graph.raw("me").status == 200
    graph.signed_in = ME
    answer.set()
    for thread in threads:
        thread.join()
    assert (statuses, graph.raw("me").status) == ([200] * 4, 200)


def test_answers_may_be_cut_garbled_slow_or_lost(graph: Graph, sandbox: Running) -> None:
    sandbox.create_event(ME, start="2026-11-24T15:00")
    sandbox.add_fault("truncated", provider="microsoft")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        graph.raw("me/calendarView", **WINDOW).json()
    sandbox.add_fault("html_ok", provider="microsoft")
    page = graph.raw("me/calendarView", **WINDOW)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=UTF-8")
    sandbox.add_fault("html_unavailable")
    assert "retry-after" not in graph.raw("me/calendarView", **WINDOW).headers
    for kind in ("reset", "lost_answer"):
        sandbox.add_fault(kind, provider="microsoft")
        with pytest.raises(urllib3.exceptions.ProtocolError):
            graph.raw("me/calendarView", **WINDOW)
    sandbox.add_fault("no_links", endpoint="calendarView.delta")
    assert set(graph("me/calendarView/delta", **WINDOW)) == {"@odata.context", "value"}
    sandbox.add_fault("empty_pages", endpoint="calendarView", provider="microsoft")
    assert [len(page["value"]) for page in graph.pages("me/calendarView", **WINDOW)] == [0, 1]


def test_unknown_paths_and_methods_are_refused(graph: Graph) -> None:
    assert refused(graph.raw("me/nonsense")) == (400, "BadRequest")
    assert graph.raw(f"users/{ME}/calendarView", **WINDOW).status == 200
    assert refused(graph.raw("users/b@contoso.example/calendarView", **WINDOW)) == (403, "ErrorAccessDenied")
