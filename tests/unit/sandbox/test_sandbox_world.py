"""Faults, switches, grants, the clock, the demo, and the state file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox import snapshot
from sandbox.errors import Missing, Unusable
from sandbox.faults import Fault, Faults, Target
from sandbox.google import oauth
from sandbox.google.errors import OAuthError
from sandbox.world import KINDS, World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ME = "a@example.com"


@pytest.fixture
def world() -> World:
    made = World(clock=lambda: NOW)
    made.create_calendar(account=ME, refresh_token="r1")
    return made


def refresh(world: World, token: str = "r1", **form: str) -> dict[str, object]:
    given = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "sandbox-client"}
    return oauth.token(world.state, given | {"client_secret": "sandbox-secret"} | form, now=world.now())


@pytest.mark.parametrize(
    ("fault", "target", "strikes"),
    [
        (Fault("gone"), Target("events.list", ME, sync_token=True), True),
        (Fault("gone"), Target("events.list", ME), False),
        (Fault("rate_limit"), Target("events.list", ME), True),
        (Fault("rate_limit"), Target("events.get", ME), False),
        (Fault("rate_limit", "events.*"), Target("events.get", ME), True),
        (Fault("rate_limit", "*"), Target("calendarList.list"), True),
        (Fault("rate_limit", "watch"), Target("events.watch", ME), True),
        (Fault("rate_limit", calendar_id="b"), Target("events.list", ME), False),
        (Fault("invalid_grant"), Target("token", client_id="c"), True),
        (Fault("invalid_grant", client_id="d"), Target("token", client_id="c"), False),
        (Fault("invalid_grant", refresh_token="r"), Target("token", refresh_token="r"), True),
    ],
    ids=lambda value: f"{value.kind} {value.endpoint}" if isinstance(value, Fault) else None,
)
def test_a_fault_strikes_only_what_it_is_aimed_at(fault: Fault, target: Target, *, strikes: bool) -> None:
    faults = Faults(KINDS)
    faults.add(fault)
    assert (faults.take(target) is fault) == strikes


def test_a_fault_is_used_up_or_stays() -> None:
    faults, target = Faults(KINDS), Target("events.list")
    faults.add(Fault("rate_limit", times=2))
    faults.add(Fault("server_error", times=None))
    assert [one.kind for one in (faults.take(target) for _ in range(4)) if one] == ["rate_limit"] * 2 + [
        "server_error"
    ] * 2
    assert faults.clear() == 1
    assert faults.take(target) is None


@pytest.mark.parametrize("fault", [Fault("nonsense"), Fault("gone", times=0), Fault("invalid_grant", "events.list")])
def test_a_fault_that_cannot_be_is_refused_with_advice(fault: Fault) -> None:
    with pytest.raises(Unusable):
        Faults(KINDS).add(fault)


def test_every_kind_can_be_added(world: World) -> None:
    for provider, kinds in KINDS.items():
        for kind in kinds.all:
            world.add_fault(kind, provider=provider)
    assert len(world.fault_list()) == sum(len(kinds.all) for kinds in KINDS.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"nonsense": 1}, "Known: token_keeps_window"),
        ({"tombstones": "some"}, "Invalid enum"),
        ({"page_size": "x"}, "int"),
    ],
)
def test_a_switch_that_cannot_be_set_says_why(world: World, changes: dict[str, object], told: str) -> None:
    with pytest.raises(Unusable, match=told):
        world.set_switches(changes)


def test_a_switch_may_hold_for_one_calendar(world: World) -> None:
    world.set_switches({"page_size": 1}, ME)
    world.set_switches({"poll_only": True})
    assert (world.google_switches(ME).page_size, world.google_switches(ME).poll_only) == (1, True)
    assert world.switches().page_size is None


def test_a_refresh_brings_no_refresh_token_unless_switched(world: World) -> None:
    assert sorted(refresh(world)) == ["access_token", "expires_in", "scope", "token_type"]
    world.set_switches({"rotate_refresh_tokens": True})
    rotated = refresh(world)["refresh_token"]
    with pytest.raises(OAuthError, match="invalid_grant"):
        refresh(world)
    assert refresh(world, str(rotated))["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_id": "unknown"}, "401 invalid_client: The OAuth client was not found."),
        ({"client_secret": "wrong"}, "401 invalid_client: The provided client secret is invalid."),
        ({"client_id": "other"}, "401 unauthorized_client: Unauthorized"),
        ({"refresh_token": "unknown"}, "400 invalid_grant: Bad Request"),
        ({"refresh_token": ""}, "400 invalid_request"),
        ({"grant_type": "password"}, "400 unsupported_grant_type"),
    ],
    ids=str,
)
def test_a_wrong_refresh_is_answered_as_google_does(world: World, form: dict[str, str], error: str) -> None:
    world.create_calendar(account="b@example.com", client_id="other")
    with pytest.raises(OAuthError, match=error):
        refresh(world, **form)


def test_too_many_grants_kill_the_oldest(world: World) -> None:
    world.set_switches({"refresh_tokens_per_account": 2})
    second, third = (world.issue_refresh_token(ME) for _ in range(2))
    assert [one.revoked for one in (world.state.grants[key] for key in ("r1", second, third))] == [True, False, False]
    with pytest.raises(OAuthError, match="expired or revoked"):
        refresh(world)


def test_a_code_works_once_and_consenting_again_gives_no_refresh_token(world: World) -> None:
    def exchange(code: str) -> dict[str, object]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "http://127.0.0.1/cb"}
        return refresh(world, **form)

    def code(*, prompt: bool) -> str:
        uri = "http://127.0.0.1/cb"
        return world.issue_code(ME, client_id="sandbox-client", redirect_uri=uri, prompt_consent=prompt)

    assert "refresh_token" not in exchange(code(prompt=False))
    used = code(prompt=True)
    assert "refresh_token" in exchange(used)
    with pytest.raises(OAuthError, match="Malformed auth code"):
        exchange(used)


def test_the_clock_can_be_moved_frozen_and_freed(world: World) -> None:
    later = NOW + timedelta(days=3)
    assert world.set_clock(later) == later
    assert world.advance(timedelta(hours=1)) == later + timedelta(hours=1)
    assert world.set_clock(frozen=True) == NOW
    assert world.advance(timedelta(hours=2)) == NOW + timedelta(hours=2)
    assert world.set_clock() == NOW


@pytest.mark.parametrize("days", range(7))
def test_the_demo_has_something_to_come_on_any_day(days: int) -> None:
    world = World(clock=lambda: NOW + timedelta(days=days))
    made = world.add_demo()
    assert (made.account, made.refresh_token) == ("demo@example.com", "sandbox-demo-refresh-token")
    now = world.now()
    rows = world.listing(made.calendar_id, time_min=now, time_max=now + timedelta(days=7))
    assert {row["summary"] for row in rows} >= {"Weekly", "Stand-up"}
    assert world.add_demo() == made


def test_bulk_calendars_are_the_same_every_time() -> None:
    def make() -> list[object]:
        world = World(clock=lambda: NOW)
        made = world.create_calendars(3, 40, series=2)
        return [made, [world.listing(one.calendar_id, time_max=NOW + timedelta(days=40)) for one in made]]

    first = make()
    assert first == make()
    assert [sum("recurringEventId" not in row for row in rows) for rows in first[1]] == [40, 40, 40]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "act",
    [
        lambda world: world.create_calendar(calendar_id=ME),
        lambda world: world.create_event(ME, start="tomorrow"),
        lambda world: world.create_event(ME, start="2026-11-24T10:00", end="2026-11-24"),
        lambda world: world.create_event(ME, start="2026-11-24T10:00", end="2026-11-24T09:00"),
        lambda world: world.create_event(ME, start="2026-11-24T10:00", zone="Mars/Olympus"),
        lambda world: world.move_event(ME, "nothing", by=timedelta(1)),
        lambda world: world.split_series(ME, "nothing"),
        lambda world: world.event("nowhere", "nothing"),
        lambda world: world.issue_access_token("nobody"),
        lambda world: world.set_clock(datetime(2026, 1, 1)),
    ],
)
def test_what_cannot_be_done_changes_nothing(world: World, act: object) -> None:
    before = world.state.calendars[ME].seq
    with pytest.raises(Unusable):
        act(world)  # type: ignore[operator]
    assert world.state.calendars[ME].seq == before


def test_the_state_survives_a_restart(world: World, tmp_path: Path) -> None:
    world.add_demo()
    world.advance(timedelta(days=1))
    path = tmp_path / "state.json"
    with snapshot.kept(path, world):
        world.retitle_event("demo@example.com", world.find_event("demo@example.com", "Weekly"), "Renamed")
    again = World(snapshot.load(path), clock=lambda: NOW)
    assert again.now() == world.now()
    assert again.events("demo@example.com") == world.events("demo@example.com")
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_a_state_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert snapshot.load(path) is None
    path.write_text("{")
    with pytest.raises(Unusable, match="move it away"):
        snapshot.load(path)


def test_credentials_are_told_while_they_live(world: World) -> None:
    assert world.credentials(ME).refresh_token == "r1"
    assert world.revoke_account(ME) == 1
    with pytest.raises(Missing, match="issue_refresh_token"):
        world.credentials(ME)
