"""The sandbox over HTTP: with Google's own client library, and byte by byte."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httplib2
import pytest
import urllib3
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from sandbox.client import Client as Control
from sandbox.client import Refused, Unreachable
from sandbox.errors import Unusable
from sandbox.google.faults import API, TOKEN
from sandbox.model import CALENDAR_SCOPE
from sandbox.replies import Credentials
from sandbox.server import Running, running

ME = "a@example.com"
FORM = {"grant_type": "refresh_token", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Running) -> Running:
    shared.world.__init__()
    shared.world.base_url = shared.url
    shared.create_calendar(account=ME, refresh_token="r1")
    return shared


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    manager = urllib3.PoolManager(retries=False, timeout=10)
    yield manager
    manager.clear()


@pytest.fixture
def events(sandbox: Running) -> Iterator[Any]:
    """`service.events()` of google-api-python-client, signed in as the calendar's owner."""
    transport = Bearer(sandbox.issue_access_token(ME))
    options = {"api_endpoint": sandbox.google_url}
    with build("calendar", "v3", http=transport, static_discovery=True, client_options=options) as service:
        yield service.events()


class Bearer(httplib2.Http):
    """An Http that adds the access token."""

    def __init__(self, token: str) -> None:
        super().__init__(timeout=10)
        self.token = token

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **more: Any) -> Any:
        signed = {**(headers or {}), "authorization": f"Bearer {self.token}"}
        return super().request(uri, method, body, signed, **more)


def refresh(http: urllib3.PoolManager, sandbox: Running, token: str = "r1") -> urllib3.BaseHTTPResponse:
    return http.request("POST", sandbox.token_url, fields=FORM | {"refresh_token": token}, encode_multipart=False)


def get(http: urllib3.PoolManager, sandbox: Running, path: str = f"calendars/{ME}/events", **more: Any) -> Any:
    """A GET with a fresh access token."""
    token = more.pop("token", None) or sandbox.issue_access_token(ME)
    headers = {"authorization": f"Bearer {token}"}
    return http.request("GET", sandbox.google_url + path, headers=headers, fields=more)


def reason(reply: Any) -> tuple[int, str | None]:
    return reply.status, reply.json()["error"]["errors"][0].get("reason")


def test_googles_library_lists_pages_and_then_only_changes(sandbox: Running, events: Any) -> None:
    made = [sandbox.create_event(ME, start=f"2026-11-2{n}T10:00", title=f"E{n}")["id"] for n in range(5)]
    query = {
        "calendarId": ME,
        "singleEvents": True,
        "timeMin": "2026-11-01T00:00:00Z",
        "timeMax": "2026-12-01T00:00:00Z",
    }
    seen: list[str] = []
    request = events.list(**query, maxResults=2, fields="items(id),nextPageToken,nextSyncToken")
    while request is not None:
        answer = request.execute()
        seen += [row["id"] for row in answer["items"]]
        request = events.list_next(request, answer)
    assert sorted(seen) == sorted(made)
    sandbox.retitle_event(ME, made[0], "New")
    sandbox.cancel_event(ME, made[1])
    told = events.list(calendarId=ME, singleEvents=True, syncToken=answer["nextSyncToken"]).execute()
    assert {row["id"]: row["status"] for row in told["items"]} == {made[0]: "confirmed", made[1]: "cancelled"}


def test_googles_library_gets_events_and_instances(sandbox: Running, events: Any) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=["RRULE:FREQ=DAILY;COUNT=3"])["id"]
    assert events.get(calendarId="primary", eventId=series).execute()["recurrence"] == ["RRULE:FREQ=DAILY;COUNT=3"]
    rows = events.instances(calendarId=ME, eventId=series).execute()["items"]
    assert [row["id"] for row in rows] == [f"{series}_202611{day}T140000Z" for day in (24, 25, 26)]
    one = events.get(calendarId=ME, eventId=rows[1]["id"]).execute()
    assert one == rows[1]
    with pytest.raises(HttpError) as caught:
        events.get(calendarId=ME, eventId="nothing").execute()
    assert caught.value.status_code == 404


def test_the_envelope_has_all_that_google_says_of_a_calendar(sandbox: Running, http: urllib3.PoolManager) -> None:
    answer = get(http, sandbox).json()
    assert set(answer) == {
        *("kind", "etag", "summary", "description", "updated", "timeZone", "accessRole", "defaultReminders", "items"),
        "nextSyncToken",
    }


def test_a_long_query_may_come_as_a_post(sandbox: Running, events: Any) -> None:
    sandbox.create_event(ME, start="2026-11-24T15:00")
    answer = events.list(calendarId=ME, fields=",".join(["items(id,summary,start,end)"] * 100)).execute()
    assert set(answer) == {"items"}
    assert sandbox.requests(1)[0].method == "GET"


def test_a_mask_that_forgets_the_tokens_hides_them(sandbox: Running, http: urllib3.PoolManager) -> None:
    assert get(http, sandbox, fields="items").json() == {"items": []}
    assert reason(get(http, sandbox, fields="items(")) == (400, "invalidParameter")


@pytest.mark.parametrize("pretty", ["true", "false"])
def test_answers_are_indented_unless_told_not_to(sandbox: Running, http: urllib3.PoolManager, pretty: str) -> None:
    assert (b"\n" in get(http, sandbox, prettyPrint=pretty).data) == (pretty == "true")


def test_ids_in_the_path_are_percent_encoded(sandbox: Running, http: urllib3.PoolManager) -> None:
    strange = "en.usa#holiday/x@group.v.calendar.google.com"
    sandbox.create_calendar(account=ME, calendar_id=strange)
    assert get(http, sandbox, f"calendars/{quote(strange, safe='')}").json()["id"] == strange
    assert sandbox.listing(strange) == []


def test_primary_is_another_calendar_for_another_account(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.create_calendar(account="b@example.com")
    theirs = sandbox.issue_access_token("b@example.com")
    assert get(http, sandbox, "calendars/primary").json()["id"] == ME
    assert get(http, sandbox, "calendars/primary", token=theirs).json()["id"] == "b@example.com"
    assert reason(get(http, sandbox, token=theirs)) == (404, "notFound")


def test_the_calendar_list_is_paged(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.create_calendar(account=ME)
    first = get(http, sandbox, "users/me/calendarList", maxResults="1").json()
    second = get(http, sandbox, "users/me/calendarList", maxResults="1", pageToken=first["nextPageToken"]).json()
    assert [row.get("primary", False) for row in (*first["items"], *second["items"])] == [True, False]


def test_events_scopes_open_no_calendar_list(sandbox: Running, http: urllib3.PoolManager) -> None:
    token = sandbox.world.issue_access_token(ME, scope=f"{CALENDAR_SCOPE}.events.readonly")
    assert get(http, sandbox, token=token).status == 200
    assert reason(get(http, sandbox, "users/me/calendarList", token=token)) == (403, "insufficientPermissions")
    assert reason(get(http, sandbox, f"calendars/{ME}", token=token)) == (403, "insufficientPermissions")


def test_an_access_token_ends_by_the_sandboxs_clock(sandbox: Running, http: urllib3.PoolManager) -> None:
    answer = refresh(http, sandbox).json()
    assert answer["expires_in"] == 3599
    assert get(http, sandbox, token=answer["access_token"]).status == 200
    sandbox.advance(timedelta(hours=1))
    assert reason(get(http, sandbox, token=answer["access_token"])) == (401, "authError")


def test_revoking_ends_refresh_and_access_tokens(sandbox: Running, http: urllib3.PoolManager) -> None:
    token = refresh(http, sandbox).json()["access_token"]
    url = sandbox.url + "/google/revoke"
    told = [http.request("POST", url, fields={"token": token}, encode_multipart=False) for _ in range(2)]
    assert [(one.status, one.json().get("error")) for one in told] == [(200, None), (400, "invalid_token")]
    assert reason(get(http, sandbox, token=token)) == (401, "authError")
    assert refresh(http, sandbox).json() == {
        "error": "invalid_grant",
        "error_description": "Token has been expired or revoked.",
    }


@pytest.mark.parametrize("kind", TOKEN)
def test_every_token_failure(sandbox: Running, http: urllib3.PoolManager, kind: str) -> None:
    sandbox.add_fault(kind)
    reply = refresh(http, sandbox)
    status, error, _, subtype = TOKEN[kind]
    body = reply.json()
    assert (reply.status, body["error"], body.get("error_subtype")) == (status, error, subtype)
    assert refresh(http, sandbox).status == 200


@pytest.mark.parametrize("kind", API)
def test_every_api_failure(sandbox: Running, http: urllib3.PoolManager, kind: str) -> None:
    token = get(http, sandbox).json()["nextSyncToken"]
    sandbox.add_fault(kind, calendar_id=ME)
    reply = get(http, sandbox, syncToken=token)
    made = API[kind]()
    assert (reply.status, reply.json()) == (made.status, made.body)
    assert get(http, sandbox, syncToken=token).status == 200


def test_a_rate_limit_says_permission_denied_and_may_say_how_long(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.add_fault("rate_limit")
    sandbox.add_fault("too_many_requests", retry_after=7)
    assert get(http, sandbox).json()["error"]["status"] == "PERMISSION_DENIED"
    reply = get(http, sandbox)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(("kind", "status"), [("html_ok", 200), ("html_bad_gateway", 502)])
def test_html_instead_of_json(sandbox: Running, http: urllib3.PoolManager, kind: str, status: int) -> None:
    sandbox.add_fault(kind)
    sandbox.add_fault(kind, endpoint="token")
    for reply in (get(http, sandbox), refresh(http, sandbox)):
        assert (reply.status, reply.data[:15]) == (status, b"<!DOCTYPE html>")


def test_json_cut_short(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.add_fault("truncated")
    reply = get(http, sandbox)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()


@pytest.mark.parametrize("kind", ["reset", "lost_answer"])
def test_a_connection_that_breaks(sandbox: Running, http: urllib3.PoolManager, kind: str) -> None:
    sandbox.add_fault(kind)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        get(http, sandbox)
    assert get(http, sandbox).status == 200


def test_a_watch_whose_answer_is_lost_is_there_all_the_same(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.add_fault("lost_answer", endpoint="watch")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        watch(http, sandbox)
    assert reason(watch(http, sandbox)) == (400, "channelIdNotUnique")


def test_a_slow_answer_does_not_hold_up_others(sandbox: Running) -> None:
    sandbox.add_fault("slow", seconds=0.4, calendar_id=ME)
    took: list[float] = []

    def ask() -> None:
        with urllib3.PoolManager(retries=False, timeout=10) as own:
            begun = time.monotonic()
            assert get(own, sandbox).status == 200
            took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(took) >= 0.4 > min(took)


def test_pages_that_never_hold_anything(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.create_event(ME, start="2026-11-24T15:00")
    sandbox.add_fault("empty_pages", times=3)
    tokens: list[str] = []
    answer = get(http, sandbox).json()
    while "nextPageToken" in answer:
        assert answer["items"] == []
        tokens.append(answer["nextPageToken"])
        answer = get(http, sandbox, pageToken=tokens[-1]).json()
    assert len(set(tokens)) == 3
    assert len(answer["items"]) == 1


def test_a_page_with_neither_token(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.add_fault("no_tokens")
    assert not {"nextPageToken", "nextSyncToken"} & set(get(http, sandbox).json())


def test_a_token_answer_without_the_calendar_scope(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.add_fault("scope_missing")
    assert "calendar" not in refresh(http, sandbox).json()["scope"]


def test_one_clients_failure_spares_the_other(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.create_calendar(account="b@example.com", client_id="other", refresh_token="r2")
    sandbox.add_fault("deleted_client", client_id="other", times=None)
    theirs = FORM | {"refresh_token": "r2", "client_id": "other"}
    for _ in range(2):
        assert http.request("POST", sandbox.token_url, fields=theirs, encode_multipart=False).status == 401
    assert refresh(http, sandbox).status == 200


def watch(http: urllib3.PoolManager, sandbox: Running, **body: Any) -> Any:
    asked = {"id": "ch1", "type": "web_hook", "address": "https://example.com/hook"} | body
    headers = {"authorization": f"Bearer {sandbox.issue_access_token(ME)}"}
    return http.request("POST", sandbox.google_url + f"calendars/{ME}/events/watch", json=asked, headers=headers)


def test_a_watch_is_answered_shortened_and_stopped(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.set_switches(watch_max_ttl_s=3600)
    made = watch(http, sandbox, token="secret", params={"ttl": "604800"}).json()
    assert set(made) == {"kind", "id", "resourceId", "resourceUri", "token", "expiration"}
    assert abs(int(made["expiration"]) / 1000 - sandbox.now().timestamp() - 3600) < 60
    assert watch(http, sandbox, id="ch2").json()["resourceId"] == made["resourceId"]
    stop = {"id": "ch1", "resourceId": made["resourceId"]}
    headers = {"authorization": f"Bearer {sandbox.issue_access_token(ME)}"}
    url = sandbox.google_url + "channels/stop"
    assert [http.request("POST", url, json=stop, headers=headers).status for _ in range(2)] == [204, 404]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"address": "http://example.com"}, (400, "push.webhookUrlNotHttps")),
        ({"id": "x" * 65}, (400, "required")),
        ({"type": "mail"}, (400, "invalid")),
        ({"token": "x" * 257}, (400, "invalid")),
    ],
    ids=str,
)
def test_a_bad_watch_is_refused(
    sandbox: Running, http: urllib3.PoolManager, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert reason(watch(http, sandbox, **body)) == expected


def test_a_calendar_that_cannot_be_watched(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.set_switches(ME, poll_only=True)
    assert reason(watch(http, sandbox)) == (400, "pushNotSupportedForRequestedResource")


def test_requests_are_counted_and_noted_without_tokens(sandbox: Running, http: urllib3.PoolManager) -> None:
    sandbox.reset_stats()
    token = refresh(http, sandbox).json()["access_token"]
    get(http, sandbox, token=token, q="secret words")
    assert sandbox.stats().requests == {"token": 1, "events.list": 1}
    assert sandbox.stats().bytes["events.list"] > 100
    noted = sandbox.requests()
    assert [(row.method, row.endpoint, row.query) for row in noted] == [
        ("POST", "token", []),
        ("GET", "events.list", ["q"]),
    ]
    assert not any(secret in repr(noted) for secret in (token, "secret words", "r1"))


@pytest.mark.parametrize("path", ["nowhere", f"calendars/{ME}/nowhere"])
def test_an_unknown_path_is_googles_not_found(sandbox: Running, http: urllib3.PoolManager, path: str) -> None:
    assert reason(get(http, sandbox, path)) == (404, "notFound")


def test_the_controls_say_what_is_wrong(sandbox: Running, http: urllib3.PoolManager) -> None:
    with pytest.raises(Refused, match="has no event"):
        sandbox.cancel_event(ME, "nothing")
    with pytest.raises(Refused, match="There is no calendar 'nowhere'"):
        sandbox.listing("nowhere")
    with pytest.raises(Refused, match="There is no switch 'nonsense'"):
        sandbox.set_switches(nonsense=True)
    for operation, body in (
        ("nonsense", "{}"),
        ("cancel_event", "{"),
        ("cancel_event", '{"x": 1}'),
        ("revoke", "\xff"),
    ):
        reply = http.request("POST", f"{sandbox.url}/_sandbox/do/{operation}", body=body.encode("latin-1"))
        assert (reply.status, list(reply.json())) in ((400, ["error"]), (404, ["error"]))


def test_the_controls_do_what_the_world_does(sandbox: Running) -> None:
    made = sandbox.create_calendars(2, 3, prefix="x")
    assert [type(one) for one in made] == [Credentials] * 2
    single = sandbox.create_event(ME, start="2026-11-24T15:00", attendees=["b@example.com"])["id"]
    sandbox.move_event(ME, single, by=timedelta(hours=1))
    sandbox.set_link(ME, single, "https://us02web.zoom.us/j/1")
    sandbox.respond(ME, single, "declined")
    sandbox.patch_event(ME, single, {"location": "Here", "attendees": None})
    row = sandbox.event(ME, single)
    assert (row["start"]["dateTime"], row["location"]) == ("2026-11-24T16:00:00+01:00", "Here")
    assert row["conferenceData"]["conferenceSolution"]["name"] == "Zoom Meeting"
    assert "attendees" not in row
    assert [one["id"] for one in sandbox.listing(ME)] == [single]
    assert sandbox.find_event(ME, "meet") == single
    assert sandbox.next_instance(ME, single) == single


def test_nothing_answers_after_it_was_stopped() -> None:
    with running() as sandbox:
        assert sandbox.calendars() == []
        url = sandbox.url
    with Control(url) as control, pytest.raises(Unreachable, match="sandbox serve"):
        control.calendars()


def test_a_taken_port_is_told() -> None:
    with running() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(Unusable, match="choose another port"), running(port=port):
            pass
