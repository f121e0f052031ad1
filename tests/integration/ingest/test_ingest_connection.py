"""Connection states at both providers: who must act, since when, on whose word, and what a reconnect keeps."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.ingest.plan import AHEAD, PAST
from calendar_pipeline.ingest.verify import verify
from calendar_pipeline.providers.port import Grant, Meter, Window

pytestmark = pytest.mark.parametrize("platform", ["google", "microsoft"])


@pytest.fixture
def spent(bench: Any) -> Any:
    """A calendar that was synced long ago: its next sync needs a new access token."""
    bench.add("Meeting")
    bench.sync()
    bench.clock.pass_by(hours=25)
    bench.asked()
    return bench


@pytest.mark.parametrize(
    ("trouble", "state", "reason"),
    [
        ("down", "connected", "retrying"),
        ("throttled", "connected", "retrying"),
        ("token endpoint down", "connected", "retrying"),
        ("secret wrong", "connected", "operator_must_act"),
        ("grant withdrawn", "disconnected", "user_must_reconnect"),
    ],
)
def test_a_calendar_says_who_must_act_why_and_since_when(spent: Any, trouble: str, state: str, reason: str) -> None:
    began = spent.clock()
    number = spent.trouble(trouble)
    spent.sync()
    row = spent.row
    assert (row["state"], row["reason"], row["reason_since"]) == (state, reason, began)
    assert row["reason_code"]
    assert (row["connection_failure_data"] is not None) == (state == "disconnected")
    spent.world.clear_faults(number)
    spent.clock.pass_by(minutes=31)
    spent.patch()
    assert spent.sync().status == "synced"
    log = spent.rows("SELECT * FROM calendar_status WHERE calendar_id = :cal ORDER BY id")
    assert [(entry["state"], entry["reason"]) for entry in log] == [
        ("connected", None),
        (state, reason),
        ("connected", None),
    ]
    assert [entry["at"] for entry in log[1:]] == [began, spent.clock()]
    assert log[1]["reason_code"] == row["reason_code"]


@pytest.mark.parametrize("trouble", ["no right", "no calendar"])
def test_a_doubtful_verdict_is_believed_when_it_is_given_again_ten_minutes_later(spent: Any, trouble: str) -> None:
    if trouble == "no calendar" and spent.platform == "microsoft":
        spent.world.delete_calendar(spent.cal.there)
    else:
        spent.trouble(trouble)
    assert spent.sync().status == "retry"
    spent.clock.pass_by(minutes=9)
    assert spent.sync().status == "retry"
    assert spent.row["state"] == "connected"
    spent.clock.pass_by(minutes=1)
    assert spent.sync().status == "disconnected"


def test_a_reconnect_keeps_every_id(spent: Any) -> None:
    ids = {key: row["id"] for key, row in spent.events().items()}
    spent.world.revoke_account(spent.cal.credentials.account)
    assert spent.sync().status == "disconnected"
    new = spent.add("New")
    spent.patch(refresh_token=spent.world.issue_refresh_token(spent.cal.credentials.account))
    [outcome] = spent.sync_all(spent.cal)
    assert (outcome.status, outcome.mode, outcome.created) == ("synced", "listing", 1)
    after = {key: row["id"] for key, row in spent.events().items()}
    assert {key: value for key, value in after.items() if key != new} == ids
    assert [row["change"] for row in spent.history()] == ["created", "created"]


def test_many_users_refused_at_once_are_the_clients_trouble(bench: Any) -> None:
    ours = [bench.follow(client_id="broken") for _ in range(12)]
    bench.trouble("grant withdrawn", client_id="broken")
    ended = [one.status for one in bench.sync_all(*ours)]
    assert ended == ["disconnected"] * 4 + ["operator"] * 8
    assert bench.asked()["token"] == 5  # the others are spared the question


def test_a_refused_client_rests_and_is_then_tried_by_one_calendar(bench: Any) -> None:
    ours = [bench.follow(client_id="refused") for _ in range(5)]
    number = bench.trouble("secret wrong", client_id="refused")
    assert {one.status for one in bench.sync_all(*ours)} == {"operator"}
    assert bench.asked()["token"] == 2  # one alone could be mistaken
    bench.world.clear_faults(number)
    bench.clock.pass_by(minutes=31)
    assert {one.status for one in bench.sync_all(*ours)} == {"synced"}
    assert {row["state"] for row in bench.rows("SELECT state FROM calendar")} == {"connected"}


# -- completeness ---------------------------------------------------------------------------------------------


def test_each_sync_leaves_a_record_of_what_it_proved_and_cost(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.there, event, "After")
    bench.sync()
    bench.sync(full=True)
    first, second, third = bench.runs()
    for run in (first, second, third):
        assert run["outcome"] == "synced"
        assert run["requests"] > 0
        assert run["response_bytes"] > 0
        assert run["pages"] > 0
        assert run["finished_at"] >= run["started_at"]
    assert [(run["mode"], run["why"]) for run in (first, third)] == [("listing", "first"), ("listing", "asked")]
    assert second["why"] == "changes"
    assert [run["token_kind"] for run in (first, second, third)] == ["fresh", "cached", "cached"]
    assert [(run["created"], run["updated"]) for run in (first, second, third)] == [(1, 0), (0, 1), (0, 0)]
    assert first["digest"] != third["digest"]
    assert (third["covers_from"], third["covers_until"]) == (bench.row["held_from"], bench.row["held_until"])


def test_a_listing_that_would_delete_more_than_half_is_read_twice(bench: Any) -> None:
    events = {bench.add(f"No {number}") for number in range(12)}
    bench.sync()
    bench.lose_token()
    seen = 0

    def emptied_once(url: str, answer: Any) -> Any:
        nonlocal seen
        listing = "/events?" in url or "/calendarView?" in url
        seen += listing
        if listing and seen == 1:
            page = json.loads(answer.body)
            return replace(answer, body=json.dumps({**page, "items": [], "value": []}).encode())
        return answer

    bench.transport.rewrite = emptied_once
    outcome = bench.sync()
    assert (outcome.status, outcome.deleted) == ("synced", 0)
    assert set(bench.live()) == events
    assert seen == 2


def test_deletions_come_of_complete_listings_only(bench: Any) -> None:
    """The second page is refused: what the first one left out is not gone."""
    events = {bench.add(f"No {number}") for number in range(6)}
    bench.sync()
    bench.lose_token()
    bench.world.set_switches({"page_size": 2}, calendar_id=bench.cal.there)

    def lost(url: str, answer: Any) -> Any:
        more = "pageToken=" in url or "skip" in url
        return replace(answer, status=503, body=b"") if more else answer

    bench.transport.rewrite = lost
    assert bench.sync().status == "retry"
    assert set(bench.live()) == events


def keep_from_us(bench: Any) -> None:
    """Move the cursor past what changed since the last sync, as if it had been saved without its data."""
    provider = bench.ingest.providers[bench.platform]
    token = bench.world.issue_access_token(bench.cal.credentials.account)
    grant = Grant(access_token=token, expires_at=bench.clock() + timedelta(hours=1))
    window = Window(start=bench.row["held_from"], end=bench.row["held_until"])
    news = provider.news(grant, bench.cal.there, since=None, window=window, meter=Meter())
    bench.execute("UPDATE calendar SET sync_token = :token WHERE id = :cal", token=news.cursor.token)
    bench.clock.pass_by(minutes=1)


def test_the_weekly_listing_counts_what_the_cursor_had_not_announced(bench: Any) -> None:
    lost = bench.add("Lost", start="2026-12-08T10:00")
    bench.sync()
    bench.world.retitle_event(bench.cal.there, lost, "Never told")
    keep_from_us(bench)
    relist_at = bench.row["relist_at"]
    assert timedelta(days=4) <= relist_at - bench.clock() <= timedelta(days=8)
    bench.clock.now = relist_at
    outcome = bench.sync()
    assert (outcome.why, outcome.updated, outcome.drift) == ("periodic", 1, 1)
    assert bench.runs()[-1]["drift"] == 1


def test_what_is_edited_while_a_listing_runs_is_no_drift(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.clock.pass_by(minutes=5)
    edited: list[str] = []

    def edit(url: str, answer: Any) -> Any:
        if ("syncToken" in url or "deltatoken" in url or "/delta" in url) and not edited:
            edited.append(url)
            bench.world.retitle_event(bench.cal.there, event, "After")
        return answer

    bench.transport.rewrite = edit
    outcome = bench.sync(full=True)
    assert (edited != [], outcome.updated, outcome.drift) == (True, 1, 0)


def test_a_shadow_listing_finds_what_was_lost_and_writes_nothing(bench: Any) -> None:
    kept, lost = bench.add("Kept"), bench.add("Lost")
    bench.sync()
    [result] = verify(bench.ingest, [bench.cal.id])
    assert (result.code, list(result.deviations)) == (None, [])
    bench.world.delete_event(bench.cal.there, lost)
    keep_from_us(bench)
    before = (bench.events(), bench.history(), bench.runs())
    [result] = verify(bench.ingest, [bench.cal.id])
    assert [(one.provider_event_id, one.kind, one.announced) for one in result.deviations] == [(lost, "deleted", False)]
    assert result.lost == 1
    assert (bench.events(), bench.history(), bench.runs()) == before
    bench.sync(full=True)
    [result] = verify(bench.ingest, [bench.cal.id])
    assert list(result.deviations) == []
    assert set(bench.live()) == {kept}


# -- held events ------------------------------------------------------------------------------------------------


def visible(bench: Any) -> set[str]:
    """What the window of the moment shows of what is held."""
    rows = bench.rows(
        "SELECT provider_event_id AS id FROM calendar_event WHERE calendar_id = :cal AND NOT is_deleted "
        "AND ends_at > :start AND starts_at < :end",
        start=bench.clock() - PAST,
        end=bench.clock() + AHEAD,
    )
    return {row["id"] for row in rows}


def test_what_time_brings_into_the_window_is_there_without_asking_anyone(bench: Any) -> None:
    soon = (bench.clock() + AHEAD + timedelta(days=2)).isoformat()
    event = bench.add("In four weeks and two days", start=soon)
    bench.sync()
    bench.asked()
    assert visible(bench) == set()
    bench.clock.pass_by(days=3)
    assert visible(bench) == {event}
    assert bench.asked() == {}


def test_what_leaves_the_window_stays_as_it_was(bench: Any) -> None:
    event = bench.add("Over soon", start=(bench.clock() + timedelta(hours=2)).isoformat())
    bench.sync()
    before = bench.events()[event]
    for _ in range(3):
        bench.clock.pass_by(days=9)
        assert bench.sync(full=True).deleted == 0
    assert visible(bench) == set()
    assert bench.events()[event] == before
    assert [row["change"] for row in bench.history()] == ["created"]
