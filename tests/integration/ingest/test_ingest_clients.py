"""OAuth clients in trouble, reasons told, and completeness measured."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.db.connect import new_lease
from calendar_pipeline.ingest import store
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.verify import verify
from calendar_pipeline.projects import store as projects
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
    assert bench.asked() == {"token": 2}  # one alone could be mistaken
    bench.execute("UPDATE calendar SET next_sync_at = 'epoch'")
    fresh = another_process(bench)
    assert bench.sync_all(*ours, ingest=fresh) == []  # another process leaves them alone too
    bench.clock.pass_by(minutes=11)
    bench.world.clear_faults()
    assert {outcome.status for outcome in bench.sync_all(*ours, ingest=fresh)} == {"synced"}
    [client] = bench.rows("SELECT * FROM oauth_client WHERE client_id = 'refused'")
    assert client["paused_until"] is None


def another_process(bench: Any) -> Any:
    """It knows what the database knows."""
    return replace(bench.ingest, guard=Guard())


def by_calendar(outcomes: list[Any]) -> dict[str, str]:
    return {outcome.calendar_id: outcome.status for outcome in outcomes}


def test_a_stranger_who_names_our_client_with_a_wrong_secret_stops_only_himself(bench: Any) -> None:
    """A client's id stands in every consent URL: anyone can follow calendars in its name, and be refused."""
    with bench.db.begin() as connection:
        theirs = projects.create(connection, "theirs", now=bench.clock()).id
    strangers = [bench.follow(project=theirs, secret="junk") for _ in range(3)]
    ours = everyone(bench, 2)
    for _ in range(2):
        assert set(by_calendar(bench.sync_all(*strangers)).values()) == {"operator"}
        bench.clock.pass_by(seconds=1)
        for one in strangers:
            bench.patch(one, client_secret="junk again")
    assert by_calendar(bench.sync_all(ours[0])) == {ours[0].id: "synced"}
    assert by_calendar(bench.sync_all(ours[1], ingest=another_process(bench))) == {ours[1].id: "synced"}


def test_calendars_whose_client_was_never_granted_wait_by_themselves_while_others_are_well(bench: Any) -> None:
    """Mistyped secrets, and people of an organisation in which the application is not allowed.

    However long ago the client was granted anything: calendars with push ask for little.
    """
    well, wrong = bench.cal, everyone(bench, 3, secret="mistyped")
    bench.sync_all(well)
    for hours in (0, 1, 7):
        bench.clock.pass_by(hours=hours)
        assert set(by_calendar(bench.sync_all(*wrong)).values()) == {"operator"}
        assert by_calendar(bench.sync_all(bench.follow())).popitem()[1] == "synced"
        assert by_calendar(bench.sync_all(well, ingest=another_process(bench), regardless=hours == 0)) == {
            well.id: "synced"
        }


def test_one_refused_calendar_is_no_evidence_and_a_second_one_is(bench: Any) -> None:
    first, second, third = everyone(bench, 3)
    bench.sync_all(first, second, third)
    bench.clock.pass_by(hours=2)
    fault = bench.world.add_fault("invalid_client", times=None)
    for _ in range(2):
        assert by_calendar(bench.sync_all(first, regardless=True)) == {first.id: "operator"}
    bench.world.clear_faults(fault.id)
    assert by_calendar(bench.sync_all(third)) == {third.id: "synced"}
    bench.clock.pass_by(hours=2)
    bench.world.add_fault("invalid_client", times=None)
    bench.sync_all(first)
    bench.sync_all(second)
    assert bench.sync_all(third) == []


def test_a_few_refused_calendars_stop_no_client_that_was_just_granted_a_token(bench: Any) -> None:
    """An organisation that forbids the application is not the others' trouble."""
    *leaving, staying = everyone(bench, 3)
    bench.sync_all(*leaving)
    for one in leaving:
        bench.world.add_fault("org_internal", refresh_token=one.google.refresh_token, times=None)
    bench.clock.pass_by(hours=2)
    bench.sync_all(bench.cal)
    bench.clock.pass_by(minutes=9)
    assert set(by_calendar(bench.sync_all(*leaving)).values()) == {"operator"}
    assert by_calendar(bench.sync_all(staying)) == {staying.id: "synced"}


def test_new_credentials_are_tried_at_once_in_spite_of_the_pause_that_the_old_ones_earned(bench: Any) -> None:
    ours = everyone(bench, 4, client_id="mistyped", secret="mistyped")
    assert set(by_calendar(bench.sync_all(*ours)).values()) == {"operator"}
    bench.clock.pass_by(minutes=1)
    bench.execute("UPDATE calendar SET next_sync_at = :now", now=bench.clock())
    fresh = another_process(bench)
    assert bench.sync_all(*ours) == bench.sync_all(*ours, ingest=fresh) == []
    bench.patch(ours[0], client_secret="sandbox-secret")
    bench.patch(ours[1], client_secret="sandbox-secret")
    assert by_calendar(bench.sync_all(ours[0])) == {ours[0].id: "synced"}  # in the process that knows of the pause
    assert by_calendar(bench.sync_all(ours[1], ingest=fresh)) == {ours[1].id: "synced"}


def test_new_credentials_are_the_live_paths_to_try_though_the_old_ones_failed(bench: Any) -> None:
    """It leaves failed calendars to runs, which take a while to start."""
    wrong, other = everyone(bench, 2, secret="mistyped")
    bench.sync_all(bench.cal)
    bench.sync_all(wrong, other)
    bench.patch(wrong, client_secret="sandbox-secret")
    bench.patch(other, metadata={"a": "b"})
    with bench.db.single() as connection:
        asked = {"limit": 9, "lease": new_lease(), "length": timedelta(minutes=1), "now": bench.clock()}
        assert [one.id for one in store.claim_asked(connection, **asked)] == [wrong.id]


def test_a_calendar_followed_during_a_pause_is_tried_at_once_and_a_patch_without_credentials_is_not(bench: Any) -> None:
    ours = everyone(bench, 3, client_id="mistyped", secret="mistyped")
    bench.sync_all(*ours)
    bench.clock.pass_by(minutes=1)
    bench.patch(ours[0], metadata={"a": "b"})
    assert bench.sync_all(*ours) == []
    new = bench.follow(client_id="mistyped")
    assert by_calendar(bench.sync_all(new)) == {new.id: "synced"}


def test_credentials_given_while_the_old_ones_are_being_refused_are_tried_at_once(bench: Any) -> None:
    """The claim is older than they are, the refusal is not."""
    first, second = everyone(bench, 2, client_id="mistyped", secret="mistyped")
    bench.sync_all(first)

    def corrected(url: str, told: Any) -> Any:
        bench.transport.rewrite = None
        bench.clock.pass_by(seconds=1)
        bench.patch(second, client_secret="sandbox-secret")
        bench.clock.pass_by(seconds=1)
        return told

    bench.transport.rewrite = corrected
    assert by_calendar(bench.sync_all(second)) == {second.id: "operator"}
    [client] = bench.rows("SELECT * FROM oauth_client WHERE client_id = 'mistyped'")
    assert client["paused_until"] > bench.clock()
    assert by_calendar(bench.sync_all(second)) == {second.id: "synced"}


@pytest.mark.parametrize("platform", ["google", "microsoft"])
def test_one_person_with_many_calendars_is_one_person(bench: Any) -> None:
    """Who removes the application disconnects all of them; that is no trouble of the client."""
    person = bench.cal.credentials
    ours = [bench.cal, *everyone(bench, 7, account=person.account, refresh_token=person.refresh_token)]
    bench.sync_all(*ours)
    bench.world.revoke_account(person.account)
    bench.clock.pass_by(hours=2)
    assert set(by_calendar(bench.sync_all(*ours)).values()) == {"disconnected"}


def test_a_disconnection_that_is_found_again_is_not_counted_again(bench: Any) -> None:
    """The live path leaves each to an ordinary run as well, so that its partition turns red."""
    live = replace(bench.ingest, leaves_red=True)
    ours = everyone(bench, 4, client_id="left")
    bench.world.add_fault("invalid_grant", client_id="left", times=None)
    assert set(by_calendar(bench.sync_all(*ours, ingest=live)).values()) == {"disconnected"}
    assert set(by_calendar(bench.sync_all(*ours)).values()) == {"disconnected"}
    [client] = bench.rows("SELECT * FROM oauth_client WHERE client_id = 'left'")
    assert len(client["refused_users"]) == 4


def test_a_grant_after_a_refusal_is_news_however_short_ago_the_last_one_was(bench: Any) -> None:
    """Many people of one organisation leave together, while another is granted a token in between."""
    before, between, *leaving = everyone(bench, 8, client_id="busy")
    for one in leaving:
        bench.world.revoke(one.google.refresh_token)
    ended = {}
    for one in (before, leaving[0], between, *leaving[1:]):
        ended |= by_calendar(bench.sync_all(one))
        bench.clock.pass_by(seconds=1)
    assert {ended[one.id] for one in (before, between)} == {"synced"}
    assert {ended[one.id] for one in leaving} == {"disconnected"}


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
