"""Access: only a user's own withdrawal disconnects, once; our mistakes and a provider's bad hour never do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calendar_pipeline.ingest import plan
from calendar_pipeline.providers.port import Credentials, Meter


@pytest.fixture
def synced(bench: Any) -> Any:
    """A calendar that was synced, with a change to come."""
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "After")
    bench.asked()
    return bench


def revoke(bench: Any) -> None:
    bench.world.revoke(bench.cal.google.refresh_token)


def test_an_access_token_is_used_until_a_minute_before_its_end(bench: Any) -> None:
    bench.sync()
    assert bench.asked() == {"token": 1, "events.list": 1}
    bench.tick(minutes=58)
    assert bench.asked() == {"events.list": 1}
    bench.tick(minutes=30)
    assert bench.asked() == {"token": 1, "events.list": 1}


def test_an_access_token_that_dies_before_its_time_is_replaced_once(synced: Any) -> None:
    synced.world.state.access.clear()
    [outcome] = synced.tick(minutes=30)
    assert synced.asked() == {"events.list": 2, "token": 1}
    assert (outcome.status, outcome.updated, outcome.requests) == ("synced", 1, 3)


def test_fresh_tokens_that_are_refused_again_and_again_end_the_connection(synced: Any) -> None:
    synced.world.add_fault("auth_error", endpoint="events.list", times=None)
    [first] = synced.tick(minutes=30)
    assert synced.asked() == {"events.list": 2, "token": 1}
    assert first.status == "retry"
    started = synced.clock()
    while (outcome := synced.sync()).status == "retry":
        assert synced.row["state"] == "connected"
        synced.clock.now = synced.row["next_sync_at"]
    assert (outcome.status, outcome.code) == ("disconnected", "authError")
    assert synced.clock() - started >= timedelta(minutes=10)
    assert synced.row["failures"] == 0


def test_one_refused_token_after_a_long_outage_disconnects_nobody(synced: Any) -> None:
    """Failures of another kind count for nothing here."""
    outage = synced.world.add_fault("unavailable", endpoint="events.list", times=None)
    for _ in range(6):
        synced.sync()
        synced.clock.now = synced.row["next_sync_at"]
    synced.world.clear_faults(outage.id)
    synced.world.add_fault("auth_error", endpoint="events.list", times=2)
    assert synced.sync().status == "retry"
    assert synced.row["state"] == "connected"
    assert synced.sync().status == "synced"


@pytest.mark.parametrize("fault", ["server_error", "unavailable", "html_bad_gateway", "html_ok", "truncated", "reset"])
def test_a_token_endpoint_in_trouble_keeps_everything(synced: Any, fault: str) -> None:
    synced.world.add_fault(fault, endpoint="token", times=1)
    before, history = synced.row, synced.history()
    [outcome] = synced.tick(hours=2)
    assert outcome.status == "retry"
    row = synced.row
    assert (row["state"], row["failures"], row["sync_token"]) == ("connected", 1, before["sync_token"])
    assert row["next_sync_at"] > synced.clock()
    assert synced.history() == history
    synced.clock.now = row["next_sync_at"]
    [outcome] = synced.sync_all(synced.cal)
    assert (outcome.status, outcome.updated) == ("synced", 1)


def test_a_withdrawn_grant_disconnects_and_says_why(synced: Any) -> None:
    revoke(synced)
    attempted = synced.row["last_attempted_sync_at"]
    [outcome] = synced.tick(hours=2)
    assert (outcome.status, outcome.code, outcome.unpublished) == ("disconnected", "invalid_grant", True)
    row = synced.row
    assert row["state"] == "disconnected"
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    assert row["connection_failure_data"] == {
        "error": f"Google Authentication error: {body}",
        "timestamp": synced.clock().isoformat(),
    }
    assert row["last_attempted_sync_at"] == attempted
    assert row["updated_at"] == synced.clock()
    assert (row["access_token"], row["next_sync_at"]) == (None, None)


def test_a_disconnected_calendar_keeps_its_events_and_is_left_alone_until_asked(synced: Any) -> None:
    events = synced.events()
    revoke(synced)
    synced.tick(hours=2)
    synced.asked()
    for _ in range(3):
        assert synced.tick(days=2) == []
    assert synced.asked() == {}
    assert synced.events() == events
    assert [row["outcome"] for row in synced.runs()] == ["synced", "disconnected"]
    synced.patch(metadata={"a": "b"})
    assert [one.status for one in synced.sync_all(synced.cal)] == ["disconnected"]


@pytest.mark.parametrize(
    "fault", ["invalid_grant", "invalid_grant_bad_request", "account_deleted", "invalid_rapt", "admin_policy_enforced"]
)
def test_every_kind_of_withdrawal_disconnects(synced: Any, fault: str) -> None:
    synced.world.add_fault(fault)
    [outcome] = synced.tick(hours=2)
    assert outcome.status == "disconnected"


def test_a_reconnected_calendar_goes_on_with_the_same_events(synced: Any) -> None:
    ours = {key: row["id"] for key, row in synced.events().items()}
    revoke(synced)
    synced.tick(hours=2)
    synced.patch(refresh_token=synced.world.issue_refresh_token(synced.cal.google.account))
    [outcome] = synced.sync_all(synced.cal)
    assert (outcome.status, outcome.mode, outcome.created, outcome.updated) == ("synced", "listing", 0, 1)
    assert {key: row["id"] for key, row in synced.events().items()} == ours
    assert (synced.row["state"], synced.row["connection_failure_data"]) == ("connected", None)


@pytest.mark.parametrize(
    "fault",
    [
        "invalid_client",
        "client_not_found",
        "invalid_secret",
        "deleted_client",
        "unauthorized_client",
        "unauthorized_client_400",
        "org_internal",
    ],
)
def test_a_refused_oauth_client_is_the_operators_matter_and_disconnects_nobody(bench: Any, fault: str) -> None:
    calendars = [bench.cal, *(bench.follow() for _ in range(2))]
    bench.sync_all(*calendars, regardless=True)
    bench.world.add_fault(fault, times=None)
    bench.clock.pass_by(hours=2)
    assert [one.status for one in bench.sync_all(*calendars)] == ["operator"] * 3
    assert {row["state"] for row in bench.rows("SELECT state FROM calendar")} == {"connected"}
    assert {row["next_sync_at"] for row in bench.rows("SELECT next_sync_at FROM calendar")} == {
        bench.clock() + timedelta(minutes=30)
    }


@pytest.mark.parametrize("fault", ["invalid_request", "invalid_scope"])
def test_a_refusal_of_our_request_is_our_bug(synced: Any, fault: str) -> None:
    synced.world.add_fault(fault)
    [outcome] = synced.tick(hours=2)
    assert (outcome.status, outcome.code, synced.row["state"]) == ("bug", fault, "connected")


def test_a_grant_without_the_calendar_scope_disconnects(synced: Any) -> None:
    synced.world.add_fault("scope_missing")
    [outcome] = synced.tick(hours=2)
    assert (outcome.status, outcome.code) == ("disconnected", "scope_missing")
    assert synced.row["connection_failure_data"]["error"].startswith(
        "Google Authentication error: {'error': 'scope_missing'"
    )


def test_a_scope_that_google_finds_missing_disconnects(synced: Any) -> None:
    synced.world.add_fault("insufficient_permissions", endpoint="events.list")
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.code) == ("disconnected", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")


@pytest.mark.parametrize("fault", ["forbidden", "not_found"])
def test_a_doubtful_verdict_counts_when_it_is_given_again_ten_minutes_later(synced: Any, fault: str) -> None:
    synced.world.add_fault(fault, endpoint="events.list", times=None)
    [first] = synced.tick(minutes=30)
    assert first.status == "retry"
    assert synced.row["suspected_at"] == synced.clock()
    assert synced.row["next_sync_at"] == synced.clock() + plan.CONFIRM_AFTER
    synced.clock.pass_by(minutes=9)
    assert synced.sync().status == "retry"
    assert synced.row["state"] == "connected"
    synced.clock.pass_by(minutes=1)
    assert synced.sync().status == "disconnected"
    assert synced.row["state"] == "disconnected"


def test_a_doubt_that_passes_is_forgotten(synced: Any) -> None:
    synced.world.add_fault("forbidden", endpoint="events.list")
    synced.tick(minutes=30)
    [outcome] = synced.tick(minutes=10)
    assert (outcome.status, outcome.updated) == ("synced", 1)
    assert synced.row["suspected_at"] is None
    synced.world.add_fault("forbidden", endpoint="events.list")
    [outcome] = synced.tick(minutes=30)
    assert outcome.status == "retry"


def test_a_deleted_calendar_is_disconnected_and_its_account_is_not(bench: Any) -> None:
    other = bench.follow(account=bench.cal.google.account)
    bench.sync_all(bench.cal, other, regardless=True)
    bench.world.delete_calendar(other.at_google)
    bench.sync_all(bench.cal, other, regardless=True)
    bench.clock.pass_by(minutes=11)
    outcomes = bench.sync_all(bench.cal, other, regardless=True)
    assert {one.calendar_id: one.status for one in outcomes} == {bench.cal.id: "synced", other.id: "disconnected"}


def test_a_rotated_refresh_token_is_kept_before_it_is_used(bench: Any) -> None:
    bench.world.set_switches({"rotate_refresh_tokens": True})
    bench.add()
    for _ in range(3):
        assert [one.status for one in bench.tick(hours=2)] == ["synced"]


def test_a_token_that_was_granted_before_a_crash_is_used_after_it(bench: Any) -> None:
    bench.world.set_switches({"rotate_refresh_tokens": True})

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.sync(ingest=bench.crashing("granted", die, lease=timedelta()))
    assert bench.asked() == {"token": 1}
    assert bench.sync().status == "synced"
    assert bench.asked() == {"events.list": 1}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "token_not_json"),
        (b"[]", "token_not_json"),
        (b"{}", "token_not_json"),
        (b'{"access_token": "", "expires_in": 3599}', "token_not_json"),
        (b'{"access_token": 5, "expires_in": 3599}', "token_not_json"),
        (b'{"access_token": "t", "expires_in": "soon"}', "token_not_json"),
        (b'{"access_token": "t", "expires_in": 1e400}', "token_not_json"),
        (b'{"access_token": "t", "expires_in": 1e30}', "token_not_json"),
        (b"[" * 100_000, "token_not_json"),
    ],
    ids=["empty", "list", "object", "empty-token", "number", "words", "infinite", "for-ever", "bottomless"],
)
def test_an_odd_answer_of_the_token_endpoint_is_tried_again(bench: Any, answer: bytes, code: str) -> None:
    bench.transport.rewrite = lambda url, told: replace(told, body=answer) if url.endswith("/token") else told
    outcome = bench.sync()
    assert (outcome.status, outcome.code, bench.row["state"]) == ("retry", code, "connected")


def test_the_request_for_a_token_is_googles_form(bench: Any, google: Any) -> None:
    meter = Meter()
    odd = Credentials(client_id="a b", client_secret="c&d=é", refresh_token="1//+%")
    made = bench.world.create_calendar(
        client_id=odd.client_id, client_secret=odd.client_secret, refresh_token=odd.refresh_token
    )
    assert made.refresh_token == odd.refresh_token
    grant = google.authorize(odd, now=bench.clock(), meter=meter)
    assert grant.expires_at == bench.clock() + timedelta(seconds=3599)
    assert grant.refresh_token is None
    assert meter.requests == 1


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["forbidden", "unavailable", "auth_error", "rate_limit", "invalid_client"]), max_size=5)
)
def test_no_row_of_troubles_within_ten_minutes_disconnects(bench: Any, faults: list[str]) -> None:
    for fault in faults:
        endpoint = "token" if fault == "invalid_client" else "events.list"
        bench.world.add_fault(fault, endpoint=endpoint, times=1)
        bench.clock.pass_by(minutes=1.9)
        assert bench.sync().status != "disconnected"
    bench.world.clear_faults()
    bench.clock.pass_by(minutes=11)  # a client that was refused rests for ten
    assert bench.sync().status == "synced"
