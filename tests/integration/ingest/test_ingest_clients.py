"""OAuth clients in trouble, reasons told, and completeness measured."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.verify import verify
from calendar_pipeline.providers.port import Grant, Meter, Window


def states(bench: Any) -> set[tuple[str, str | None]]:
    return {(row["state"], row["reason"]) for row in bench.rows("SELECT state, reason FROM calendar")}


def keep_from_us(bench: Any) -> None:
    """Move the cursor past what changed since the last sync, as if it had been saved without its data."""
    google = bench.ingest.providers["google"]
    token = bench.world.issue_access_token(bench.cal.google.account)
    grant = Grant(access_token=token, expires_at=bench.clock() + timedelta(hours=1))
    window = Window(start=bench.row["held_from"], end=bench.row["held_until"])
    news = google.news(grant, bench.cal.at_google, since=None, window=window, meter=Meter())
    bench.execute("UPDATE calendar SET sync_token = :token WHERE id = :cal", token=news.cursor.token)
    bench.clock.pass_by(minutes=1)


def everyone(bench: Any, count: int, **given: Any) -> list[Any]:
    return [bench.follow(**given) for _ in range(count)]


def test_many_users_refused_at_once_are_the_clients_trouble_and_nobody_else_is_disconnected(bench: Any) -> None:
    """One revoked user is one; the fifth within ten minutes, with nobody granted, is the client."""
    ours = everyone(bench, 12, client_id="broken")
    bench.world.add_fault("invalid_grant", client_id="broken", times=None)
    ended = [outcome.status for outcome in bench.sync_all(*ours)]
    assert ended == ["disconnected"] * 4 + ["operator"] * 8
    assert bench.asked()["token"] == 5  # the others are spared the question


def test_a_user_refused_while_others_are_granted_is_disconnected(bench: Any) -> None:
    refused = everyone(bench, 8, client_id="mixed")
    well = everyone(bench, 8, client_id="mixed")
    for one in refused:
        bench.world.revoke(one.google.refresh_token)
    outcomes = []
    for bad, good in zip(refused, well, strict=True):
        outcomes += bench.sync_all(bad, good)
        bench.clock.pass_by(seconds=11)
    ended = {outcome.calendar_id: outcome.status for outcome in outcomes}
    assert {ended[one.id] for one in refused} == {"disconnected"}
    assert {ended[one.id] for one in well} == {"synced"}


def test_a_refused_client_is_left_alone_and_then_tried_by_one_calendar(bench: Any) -> None:
    ours = everyone(bench, 5, client_id="refused")
    bench.world.add_fault("invalid_client", client_id="refused", times=None)
    assert {outcome.status for outcome in bench.sync_all(*ours)} == {"operator"}
    assert bench.asked() == {"token": 1}
    bench.execute("UPDATE calendar SET next_sync_at = 'epoch'")
    fresh = replace(bench.ingest, guard=Guard())
    assert bench.sync_all(*ours, ingest=fresh) == []  # another process leaves them alone too
    bench.clock.pass_by(minutes=11)
    bench.world.clear_faults()
    assert {outcome.status for outcome in bench.sync_all(*ours, ingest=fresh)} == {"synced"}
    [client] = bench.rows("SELECT * FROM oauth_client WHERE client_id = 'refused'")
    assert client["paused_until"] is None


def test_a_storm_on_one_client_does_not_slow_the_others(bench: Any) -> None:
    stormy, calm = everyone(bench, 9, client_id="stormy"), everyone(bench, 3, client_id="calm")
    bench.world.add_fault("too_many_requests", client_id="stormy", times=None, retry_after=120)
    outcomes = {outcome.calendar_id: outcome for outcome in bench.sync_all(*stormy, *calm)}
    assert [outcomes[one.id].status for one in calm] == ["synced"] * 3
    assert [outcomes[one.id].status for one in stormy] == ["retry"] * 9
    assert sorted(outcomes[one.id].requests for one in stormy) == [0] * 4 + [2] * 5
    [client] = bench.rows("SELECT * FROM oauth_client WHERE client_id = 'stormy'")
    assert client["paused_until"] == bench.clock() + timedelta(seconds=120)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("unavailable", "retrying"), ("invalid_grant", "user_must_reconnect"), ("invalid_secret", "operator_must_act")],
)
def test_a_calendar_says_why_it_is_as_it_is_and_since_when(bench: Any, fault: str, reason: str) -> None:
    bench.add()
    began = bench.clock()
    bench.world.add_fault(fault, endpoint="token" if fault.startswith("invalid") else "events.list")
    bench.sync()
    row = bench.row
    assert (row["reason"], row["reason_since"]) == (reason, began)
    assert row["reason_code"]
    bench.clock.pass_by(minutes=31)
    bench.patch()
    assert bench.sync().status == "synced"
    assert (bench.row["reason"], bench.row["reason_code"], bench.row["reason_since"]) == (None, None, None)
    log = bench.rows("SELECT state, reason FROM calendar_status WHERE calendar_id = :cal ORDER BY id")
    assert [row["reason"] for row in log] == [None, reason, None]
    assert [row["state"] for row in log][-1] == "connected"


def test_the_reasons_time_is_that_of_the_first_failure(bench: Any) -> None:
    began = bench.clock()
    bench.world.add_fault("unavailable", times=2)
    bench.sync()
    bench.clock.pass_by(minutes=5)
    bench.sync()
    assert bench.row["reason_since"] == began
    assert len(bench.rows("SELECT 1 FROM calendar_status WHERE calendar_id = :cal AND reason = 'retrying'")) == 1


def test_a_listing_records_what_it_covered_and_a_digest_of_it(bench: Any) -> None:
    bench.add()
    bench.sync()
    bench.sync(full=True)
    bench.sync()
    first, second, third = bench.runs()
    assert (first["mode"], second["mode"], third["mode"]) == ("listing", "listing", "incremental")
    assert first["digest"] == second["digest"]
    assert third["digest"] is None
    assert (second["covers_from"], second["covers_until"]) == (bench.row["held_from"], bench.row["held_until"])
    assert [run["token_kind"] for run in (first, second, third)] == ["fresh", "cached", "cached"]


def test_what_the_cursor_kept_from_us_is_counted_as_drift(bench: Any) -> None:
    told, lost = bench.add("Told"), bench.add("Lost")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, lost, "Never told")
    keep_from_us(bench)
    bench.world.retitle_event(bench.cal.at_google, told, "Announced")
    bench.clock.pass_by(minutes=1)
    outcome = bench.sync(full=True)
    assert (outcome.updated, outcome.drift) == (2, 1)
    assert bench.runs()[-1]["drift"] == 1


def test_what_time_brings_into_the_window_is_no_drift(bench: Any) -> None:
    bench.add("Later", start="2027-01-04T10:00")
    bench.sync()
    assert bench.live() == {}
    [outcome] = bench.tick(days=8)
    assert (outcome.created, outcome.why, outcome.drift) == (1, "periodic", 0)


def test_verify_tells_news_from_losses_and_writes_nothing(bench: Any) -> None:
    changed, lost = bench.add("Changed"), bench.add("Lost")
    bench.sync()
    bench.world.cancel_event(bench.cal.at_google, lost)
    keep_from_us(bench)
    bench.world.retitle_event(bench.cal.at_google, changed, "News")
    bench.clock.pass_by(minutes=1)
    before = (bench.events(), bench.history(), bench.runs())
    [result] = verify(bench.ingest, [bench.cal.id])
    assert {(one.provider_event_id, one.kind, one.announced) for one in result.deviations} == {
        (changed, "updated", True),
        (lost, "deleted", False),
    }
    assert (result.lost, result.code) == (1, None)
    assert (bench.events(), bench.history(), bench.runs()) == before
    bench.sync(full=True)
    [result] = verify(bench.ingest, [bench.cal.id])
    assert result.deviations == []


def test_verify_says_why_it_could_not_compare(bench: Any) -> None:
    [result] = verify(bench.ingest, [bench.cal.id])
    assert result.code == "never_synced"
    bench.sync()
    bench.world.add_fault("unavailable")
    [result] = verify(bench.ingest, [bench.cal.id])
    assert result.code is not None
    assert bench.sync().status == "synced"
