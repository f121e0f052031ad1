"""What a provider may do to us, by the numbers of the list of faults, at both providers: 34 to 37, 39 and 44.

34 a refused cursor · 35 a storm of rate limits · 36 answers that are none · 37 the token endpoint in trouble and a
withdrawn grant · 39 death between a refresh and its first use · 44 events that nobody would make up. 38 is a race of
two processes, in `test_ingest_race`; those of push are 40 to 43, told where notifications are taken.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.providers.pages import MAX_EMPTY_PAGES
from calendar_pipeline.providers.transport import Answer

pytestmark = pytest.mark.parametrize("platform", ["google", "microsoft"])

KEPT = ("sync_token", "held_from", "held_until", "last_successful_sync_at", "synced_gen", "state")


def unharmed(bench: Any, failing: Callable[[], Any]) -> Any:
    """The outcome of a failed sync that left events, history and cursor as they were."""
    before, events, history = bench.row, bench.events(), bench.history()
    outcome = failing()
    assert [bench.row[name] for name in KEPT] == [before[name] for name in KEPT]
    assert (bench.events(), bench.history()) == (events, history)
    return outcome


@pytest.mark.parametrize("changed", [False, True], ids=["unchanged", "changed"])
def test_fault_34_a_refused_cursor_is_a_whole_listing_and_repeats_no_change(bench: Any, changed: bool) -> None:
    events = [bench.add(f"No {number}") for number in range(5)]
    bench.sync()
    old = bench.row["sync_token"]
    if changed:
        bench.world.retitle_event(bench.cal.there, events[0], "Changed")
    bench.trouble("cursor refused", times=1)
    [outcome] = bench.tick(minutes=30)
    assert (outcome.status, outcome.mode, outcome.why) == ("synced", "listing", "cursor_expired")
    assert [row["change"] for row in bench.history()] == ["created"] * 5 + ["updated"] * changed
    assert set(bench.live()) == set(events)
    assert bench.row["sync_token"] != old
    [again] = bench.tick(minutes=30)
    assert (again.why, again.changes) == ("changes", 0)


def test_fault_34_a_cursor_that_is_refused_for_ever_costs_no_more_than_listings(bench: Any) -> None:
    bench.add()
    bench.sync()
    bench.trouble("cursor refused")
    for _ in range(3):
        [outcome] = bench.tick(minutes=30)
        assert (outcome.status, outcome.changes) == ("synced", 0)
    assert len(bench.history()) == 1


def test_fault_35_a_storm_of_rate_limits_is_backed_off_from_and_slows_nobody_else(bench: Any) -> None:
    """Counts and virtual time: in the storm the calm client's calendars are read as if there were none."""
    stormy = [bench.follow(client_id="stormy") for _ in range(20)]
    calm = [bench.follow(client_id="calm") for _ in range(20)]
    slept: list[float] = []
    ingest = replace(bench.ingest, guard=Guard(sleep=slept.append))
    bench.trouble("throttled", client_id="stormy", retry_after=300)
    outcomes = {one.calendar_id: one for one in bench.sync_all(*stormy, *calm, threads=4, ingest=ingest)}
    assert {outcomes[one.id].status for one in calm} == {"synced"}
    met = [outcomes[one.id] for one in stormy if one.id in outcomes]  # a thread that comes late leaves its own alone
    assert {one.status for one in met} == {"retry"}
    assert {bench.rows("SELECT state FROM calendar WHERE id = :id", id=one.id)[0]["state"] for one in stormy} == {
        "connected"
    }
    assert slept == []
    asked = sum(one.requests > 0 for one in met)
    assert 5 <= asked <= 5 + 4  # the fifth refusal stops them; up to four threads were under way
    waits = {
        row["id"]: row["wait"]
        for row in bench.rows("SELECT id, next_sync_at - :now AS wait FROM calendar", now=bench.clock())
    }
    assert all(waits[one.calendar_id] >= timedelta(seconds=300) for one in met)
    bench.clock.pass_by(minutes=4)
    bench.asked()
    assert bench.sync_all(*stormy, ingest=ingest) == []
    assert bench.asked() == {}


LAST_PAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[: len(body) // 2],
    "html": lambda _: b"<!DOCTYPE html><title>Sign in to the hotel's network</title>",
    "nothing": lambda _: b"",
    "another object": lambda _: b'{"ok": true}',
    "an array": lambda _: b"[]",
    "not text": lambda _: b"\xff\xfe\x00",
    "bottomless": lambda _: b"[" * 100_000,
}


@pytest.mark.parametrize("spoiled", LAST_PAGES)
def test_fault_36_an_answer_that_is_none_is_an_error_and_the_cursor_stays(bench: Any, spoiled: str) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.there, event, "After")
    bench.transport.rewrite = lambda _, answer: replace(answer, body=LAST_PAGES[spoiled](answer.body))
    [outcome] = unharmed(bench, lambda: bench.tick(minutes=30))
    assert outcome.status in ("retry", "bug")
    bench.transport.rewrite = None
    assert bench.sync().updated == 1


def test_fault_36_pages_without_end_come_to_an_end(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.there, event, "After")
    bench.trouble("cursor refused", times=1)
    bench.world.add_fault("empty_pages", calendar_id=bench.cal.there, times=None)
    bench.asked()
    [outcome] = unharmed(bench, lambda: bench.tick(minutes=30))
    assert (outcome.status, outcome.code) == ("retry", "endless_pages")
    assert sum(bench.asked().values()) <= MAX_EMPTY_PAGES + 3


def test_fault_37_a_token_endpoint_in_trouble_disconnects_nobody(bench: Any) -> None:
    bench.add()
    bench.sync()
    bench.clock.pass_by(days=2)
    trouble = bench.trouble("token endpoint down")
    for _ in range(8):
        bench.clock.pass_by(minutes=40)
        assert unharmed(bench, bench.sync).status == "retry"
    assert (bench.row["state"], bench.row["reason"]) == ("connected", "retrying")
    bench.world.clear_faults(trouble)
    assert bench.sync().status == "synced"


def test_fault_37_a_withdrawn_grant_disconnects_once(bench: Any) -> None:
    bench.add()
    bench.sync()
    events = bench.events()
    bench.world.revoke_account(bench.cal.credentials.account)
    bench.clock.pass_by(days=2)
    assert [one.status for one in bench.sync_all(bench.cal)] == ["disconnected"]
    for _ in range(3):
        assert bench.tick(days=1) == []
    assert (bench.row["state"], bench.row["reason"]) == ("disconnected", "user_must_reconnect")
    log = bench.rows("SELECT state, reason FROM calendar_status WHERE calendar_id = :cal ORDER BY id")
    assert [row["state"] for row in log].count("disconnected") == 1
    assert bench.events() == events


class Killed(BaseException):
    """The process ends here."""


def kill(*_: object) -> None:
    raise Killed


def test_fault_39_a_token_that_was_kept_before_a_death_is_used_after_it(bench: Any) -> None:
    if bench.platform == "google":
        bench.world.set_switches({"rotate_refresh_tokens": True})
    with pytest.raises(Killed):
        bench.sync(ingest=bench.crashing("granted", kill, lease=timedelta()))
    assert bench.asked()["token"] == 1
    assert bench.refresh_token == bench.world.credentials(bench.cal.there).refresh_token
    assert bench.sync().status == "synced"
    assert "token" not in bench.asked()


def test_fault_39_a_death_before_the_new_token_was_kept_recovers_with_the_old_one(bench: Any) -> None:
    """Microsoft does not revoke a refresh token that was used; Google does not rotate."""
    first = bench.refresh_token

    def die(url: str, answer: Answer) -> Answer:
        return kill() if url.endswith("/token") else answer  # type: ignore[return-value]

    bench.transport.rewrite = die
    with pytest.raises(Killed):
        bench.sync(ingest=replace(bench.ingest, lease=timedelta()))
    bench.transport.rewrite = None
    assert bench.refresh_token == first
    assert bench.sync().status == "synced"


def test_fault_39_a_provider_that_revokes_what_was_used_asks_the_user_to_reconnect(bench: Any) -> None:
    """Where the old token is dead and the new one was lost with the worker, the user is told; nothing hangs."""

    def die(url: str, answer: Answer) -> Answer:
        if url.endswith("/token"):
            bench.world.revoke_account(bench.cal.credentials.account)
            kill()
        return answer

    bench.transport.rewrite = die
    with pytest.raises(Killed):
        bench.sync(ingest=replace(bench.ingest, lease=timedelta()))
    bench.transport.rewrite = None
    assert bench.sync().status == "disconnected"
    assert bench.row["connection_failure_data"] is not None
    bench.patch(refresh_token=bench.world.issue_refresh_token(bench.cal.credentials.account))
    assert [one.status for one in bench.sync_all(bench.cal)] == ["synced"]


CROWD_GOOGLE = [{"email": f"guest{number}@example.com"} for number in range(10_000)]
CROWD_MICROSOFT = [{"emailAddress": {"address": f"guest{number}@example.com"}} for number in range(10_000)]
ODD: Mapping[str, Mapping[str, tuple[str | None, Mapping[str, object]]]] = {
    "google": {
        "ten thousand guests": ("too_many_attendees", {"attendees": CROWD_GOOGLE}),
        "the year 9999": (None, {"end": {"dateTime": "9999-12-31T23:59:59Z"}}),
        "no end": ("no_end", {"end": None}),
        "unknown zone": ("unknown_zone", {"start": {"dateTime": "2026-11-24T10:00:00", "timeZone": "Mars/Base"}}),
        "a megabyte of text": (None, {"description": "d" * 1_000_000}),
    },
    "microsoft": {
        "ten thousand guests": ("too_many_attendees", {"attendees": CROWD_MICROSOFT}),
        "the year 9999": (None, {"end": {"dateTime": "9999-12-31T23:59:59.9999999", "timeZone": "UTC"}}),
        "no end": ("no_end", {"end": None}),
        "unknown zone": ("unknown_zone", {"start": {"dateTime": "2026-11-24T10:00:00.0", "timeZone": "Mars/Base"}}),
        "a megabyte of text": (None, {"body": {"contentType": "html", "content": "d" * 1_000_000}}),
    },
}


def test_fault_44_an_event_that_nobody_would_make_up_is_kept_or_set_aside_alone(bench: Any) -> None:
    odd = ODD[bench.platform]
    ids = {name: bench.add(name) for name in ["plain", *odd]}
    changes = {ids[name]: fields for name, (_, fields) in odd.items()}

    def rewrite(_: str, answer: Answer) -> Answer:
        page = json.loads(answer.body)
        for key in ("items", "value"):
            for raw in page.get(key, []):
                raw.update(changes.get(raw["id"], {}))
        return replace(answer, body=json.dumps(page).encode())

    bench.transport.rewrite = lambda url, answer: answer if "/token" in url else rewrite(url, answer)
    outcome = bench.sync()
    aside = {ids[name]: reason for name, (reason, _) in odd.items() if reason}
    assert outcome.status == "synced"
    assert bench.quarantined() == aside
    assert set(bench.live()) == set(ids.values()) - set(aside)
    assert outcome.quarantined == bench.row["quarantined"] == len(aside)
    bench.transport.rewrite = None
    bench.sync(full=True)
    assert bench.quarantined() == {}
    assert set(bench.live()) == set(ids.values())
