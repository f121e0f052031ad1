"""What only Microsoft does: claims challenges, mailboxes on their way, links in answers, and msal's own memory."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from calendar_pipeline.errors import TryLater
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.microsoft.client import MicrosoftCalendar
from calendar_pipeline.providers.microsoft.oauth import Entra, calendar_scope
from calendar_pipeline.providers.port import Credentials, Meter, Window
from calendar_pipeline.providers.transport import Answer, Transport
from sandbox.microsoft.faults import AADSTS
from sandbox.server import running
from sandbox.world import World


@pytest.fixture
def platform() -> Platform:
    return "microsoft"


@pytest.fixture
def synced(bench: Any) -> Any:
    """A calendar that was synced, with a change to come."""
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.there, event, "After")
    bench.asked()
    return bench


@pytest.mark.parametrize("how", ["Graph gives up", "we do"])
def test_a_calendar_of_very_large_events_is_listed_by_smaller_pages(bench: Any, how: str) -> None:
    event = bench.add("Large")

    def too_large(url: str, answer: Answer) -> Answer:
        if "%24top=1000" not in url:
            return answer
        if how == "we do":
            raise TryLater("answer_too_large")
        return replace(answer, status=504, body=b'{"error": {"code": "UnknownError", "message": ""}}')

    bench.transport.rewrite = too_large
    assert bench.sync().status == "synced"
    assert bench.live() == {event: "Large"}
    assert bench.asked()["calendarView"] == 2


# -- tokens -------------------------------------------------------------------------------------------------


def test_a_token_lasts_a_day_since_we_can_answer_challenges(bench: Any) -> None:
    bench.sync()
    assert bench.asked() == {"discovery": 1, "token": 1, "calendarView.delta": 1, "calendarView": 1}
    bench.tick(hours=20)
    assert bench.asked() == {"calendarView.delta": 1}
    bench.tick(hours=5)
    assert bench.asked() == {"token": 1, "calendarView.delta": 1}


def test_a_claims_challenge_is_answered_with_a_token_for_those_claims(synced: Any) -> None:
    synced.world.add_fault("claims_challenge", calendar_id=synced.cal.there)
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.updated) == ("synced", 1)
    assert synced.asked() == {"calendarView.delta": 2, "token": 1, "calendarView": 1}
    [access] = [one for one in synced.world.state.access.values() if one.claims]
    assert access.account == synced.cal.credentials.account


def test_a_challenge_to_a_fresh_token_is_answered_once_and_not_in_a_loop(bench: Any) -> None:
    claims = base64.b64encode(b'{"access_token": {"nbf": {"essential": true}}}').decode()
    challenge = {"www-authenticate": f'Bearer realm="", error="insufficient_claims", claims="{claims}"'}

    def challenged(url: str, answer: Answer) -> Answer:
        return replace(answer, status=401, headers=challenge, body=b"{}") if "/graph/" in url else answer

    bench.transport.rewrite = challenged
    assert bench.sync().status == "retry"
    assert bench.asked() == {"discovery": 1, "token": 2, "calendarView.delta": 2}
    assert bench.row["state"] == "connected"


def test_the_token_that_a_challenge_rotated_to_is_kept(synced: Any) -> None:
    synced.clock.pass_by(hours=25)
    synced.world.add_fault("claims_challenge", calendar_id=synced.cal.there)
    assert synced.sync().status == "synced"
    assert synced.asked()["token"] == 2
    assert synced.refresh_token == synced.world.credentials(synced.cal.there).refresh_token


def test_a_refused_access_token_is_replaced_once(synced: Any) -> None:
    synced.world.state.access.clear()
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.updated) == ("synced", 1)
    assert synced.asked() == {"calendarView.delta": 2, "token": 1, "calendarView": 1}


def test_a_refusal_is_not_answered_from_msals_memory(synced: Any) -> None:
    """Regression: msal repeats a refusal for a minute without asking, so what was mended stayed refused."""
    synced.clock.pass_by(hours=25)
    synced.world.add_fault("aadsts90090", provider="microsoft")
    assert synced.sync().status == "retry"
    assert synced.sync().status == "synced"
    assert synced.asked()["token"] == 2


def test_nothing_is_kept_in_msal(bench: Any) -> None:
    others = [bench.follow() for _ in range(3)]
    bench.sync_all(bench.cal, *others)
    entra = bench.ingest.providers["microsoft"]._entra
    [application] = entra._applications.values()
    assert list(application.token_cache.search("AccessToken")) == []
    assert list(application.token_cache.search("RefreshToken")) == []


def test_one_application_object_serves_a_client_and_its_secret(bench: Any) -> None:
    others = [bench.follow() for _ in range(3)] + [bench.follow(client_id="other")]
    bench.sync_all(bench.cal, *others)
    assert bench.asked()["discovery"] == 2


def test_calendars_of_one_account_know_it(bench: Any) -> None:
    other = bench.follow(account=bench.cal.credentials.account)
    stranger = bench.follow()
    bench.sync_all(bench.cal, other, stranger)
    accounts = {row["id"]: row["account"] for row in bench.rows("SELECT id, account FROM calendar")}
    assert accounts[bench.cal.id] == accounts[other.id] != accounts[stranger.id]
    assert None not in accounts.values()


USER = {
    *(50173, 700082, 70008, 700084, 70043, 70000, 50089, 50132, 50133, 50055, 50144, 50057, 50034, 51004, 16000, 50020),
    *(90072, 65001, 65004, 90094, 50072, 50074, 50076, 50078, 50079, 53000, 53001, 53003, 530032, 50131, 50105, 700020),
    54005,
}
DOUBTFUL = {500014, 7000112}
OPERATOR = {7000215, 7000222, 70002, 7000218, 700027, 700016, 70001, 650052, 650056, 50194, 90002, 50011}
PASSING = {50196, 50033, 50087, 50166, 70012, 90006, 90012, 90024, 90033, 90055, 90090}


@pytest.mark.parametrize("code", AADSTS)
def test_every_code_of_the_token_endpoint_has_its_meaning(bench: Any, code: int) -> None:
    bench.sync()
    bench.clock.pass_by(hours=25)
    bench.world.add_fault(f"aadsts{code}", provider="microsoft")
    outcome = bench.sync()
    expected = (
        "disconnected" if code in USER else "operator" if code in OPERATOR else "retry"
    )  # a doubtful one waits for its confirmation
    assert outcome.status == expected
    assert (bench.row["suspected_at"] is not None) == (code in DOUBTFUL)
    assert code in USER | DOUBTFUL | OPERATOR | PASSING


def test_a_disabled_application_is_believed_when_it_is_said_again(bench: Any) -> None:
    bench.sync()
    bench.clock.pass_by(hours=25)
    bench.world.add_fault("aadsts7000112", provider="microsoft", times=None)
    assert bench.sync().status == "retry"
    bench.clock.pass_by(minutes=9)
    assert bench.sync().status == "retry"
    bench.clock.pass_by(minutes=2)
    assert bench.sync().status == "disconnected"


def test_an_authority_that_is_not_there_is_the_operators_matter(bench: Any, served: Any, wire: Any) -> None:
    entra = Entra(
        bench.transport, login_base_url=served.login_url, tenant="no-such-tenant", scope=calendar_scope("http://x")
    )
    lost = MicrosoftCalendar(bench.transport, entra, graph_base_url=served.graph_url, clock=bench.clock)
    outcome = bench.sync(ingest=replace(bench.ingest, providers={"microsoft": lost}))
    assert (outcome.status, outcome.code) == ("operator", "authority_http_400")
    assert bench.row["state"] == "connected"


def test_an_authority_that_is_down_is_asked_again(bench: Any) -> None:
    bench.world.add_fault("html_unavailable", endpoint="discovery", provider="microsoft")
    assert bench.sync().status == "retry"
    assert bench.sync().status == "synced"


# -- links and cursors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["@odata.nextLink", "@odata.deltaLink"])
@pytest.mark.parametrize(
    "where", ["https://graph.evil.example/v1.0/me/x", "http://127.0.0.1:9/microsoft/graph/v1.0/me/x", "//evil", 7]
)
def test_no_token_is_sent_where_a_link_points_elsewhere(bench: Any, link: str, where: object) -> None:
    asked: list[str] = []

    def mislead(url: str, answer: Answer) -> Answer:
        asked.append(url)
        if "/calendarView/delta" not in url:
            return answer
        page = json.loads(answer.body)
        page.pop("@odata.deltaLink", None)
        return replace(answer, body=json.dumps({**page, link: where}).encode())

    bench.transport.rewrite = mislead
    outcome = bench.sync()
    assert outcome.status == "bug"
    assert outcome.code in ("foreign_link", "no_delta_link")
    assert all(url.startswith(bench.world.base_url) for url in asked)


@pytest.mark.parametrize(
    "kind",
    ["sync_state_not_found", "sync_state_not_found_404", "sync_state_invalid", "resync_required", "delta_bad_request"],
)
def test_every_way_to_refuse_a_delta_link_leads_to_a_listing(synced: Any, kind: str) -> None:
    synced.world.add_fault(kind, calendar_id=synced.cal.there)
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.why, outcome.updated) == ("synced", "cursor_expired", 1)
    [outcome] = synced.tick(minutes=30)
    assert (outcome.why, outcome.changes) == ("changes", 0)


def test_a_listing_that_is_forgotten_half_way_is_begun_anew(bench: Any) -> None:
    for number in range(5):
        bench.add(f"No {number}")
    bench.world.set_switches({"page_size": 2}, calendar_id=bench.cal.there)
    refused: list[str] = []

    def forget(url: str, answer: Answer) -> Answer:
        if "/calendarView?" in url and "skip" in url and not refused:
            refused.append(url)
            return replace(answer, status=404, body=b'{"error": {"code": "ErrorItemNotFound"}}')
        return answer

    bench.transport.rewrite = forget
    outcome = bench.sync()
    assert (outcome.status, outcome.created, len(refused)) == ("synced", 5, 1)


def test_what_is_asked_says_how_ids_and_times_shall_be(bench: Any, served: Any) -> None:
    """On each page: without it, ids and zones change under way."""
    sent: list[str] = []

    class Listening(Transport):
        def request(self, method: str, url: str, **more: Any) -> Answer:
            if "/graph/" in url:
                sent.append(more["headers"]["prefer"])
            return super().request(method, url, **more)

    for number in range(5):
        bench.add(f"No {number}")
    bench.world.set_switches({"page_size": 2}, calendar_id=bench.cal.there)
    transport = Listening(timeout=5)
    entra = Entra(transport, login_base_url=served.login_url, tenant="common", scope=calendar_scope(served.graph_url))
    client = MicrosoftCalendar(transport, entra, graph_base_url=served.graph_url, clock=bench.clock)
    assert bench.sync(ingest=replace(bench.ingest, providers={"microsoft": client})).created == 5
    transport.close()
    assert len(sent) >= 5
    assert all('IdType="ImmutableId"' in prefer and 'outlook.timezone="UTC"' in prefer for prefer in sent)


# -- calendars and mailboxes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["item_not_found", "folder_not_found", "resource_not_found", "malformed_id"])
def test_a_calendar_that_is_not_found_yet_listed_is_passing_trouble(synced: Any, kind: str) -> None:
    synced.trouble("cursor refused", times=1)
    synced.world.add_fault(kind, calendar_id=synced.cal.there)
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.code) == ("retry", "calendar_listed_yet_not_found")
    assert synced.row["suspected_at"] is None
    assert synced.asked()["calendars.list"] == 1
    assert synced.sync().status == "synced"


def test_a_calendar_that_is_gone_is_disconnected_after_a_second_look_and_its_account_is_not(bench: Any) -> None:
    other = bench.follow(account=bench.cal.credentials.account)
    bench.sync_all(bench.cal, other)
    bench.world.delete_calendar(other.there)
    assert {one.status for one in bench.sync_all(other, regardless=True)} == {"retry"}
    bench.clock.pass_by(minutes=11)
    ended = {one.calendar_id: one.status for one in bench.sync_all(bench.cal, other, regardless=True)}
    assert ended == {bench.cal.id: "synced", other.id: "disconnected"}


@pytest.mark.parametrize("kind", ["mailbox_not_enabled", "mailbox_not_supported", "mailbox_not_hosted"])
def test_a_mailbox_on_its_way_has_a_day(synced: Any, kind: str) -> None:
    """A licence change or a migration takes hours; it is no reason to make the user reconnect."""
    synced.world.add_fault(kind, calendar_id=synced.cal.there, times=None)
    began, tries = synced.clock(), 0
    while (outcome := synced.sync()).status == "retry":
        tries += 1
        assert synced.row["next_sync_at"] - synced.clock() <= timedelta(minutes=38)
        synced.clock.now = synced.row["next_sync_at"]
    assert outcome.status == "disconnected"
    assert synced.clock() - began >= timedelta(hours=24)
    assert tries >= 6


def test_a_mailbox_that_comes_back_is_forgiven(synced: Any) -> None:
    fault = synced.world.add_fault("mailbox_not_enabled", calendar_id=synced.cal.there, times=None)
    synced.sync()
    synced.clock.pass_by(hours=20)
    synced.sync()
    synced.world.clear_faults(fault.id)
    assert synced.sync().status == "synced"
    assert (synced.row["suspected_at"], synced.row["reason"]) == (None, None)


# -- national clouds ----------------------------------------------------------------------------------------


class Rerouted(Transport):
    """Sends what is meant for a national cloud to the sandbox, and notes where it should have gone."""

    def __init__(self, login: str, graph: str, to_login: str, to_graph: str) -> None:
        super().__init__(timeout=5)
        self.routes = {login: to_login, graph: to_graph}
        self.asked: list[str] = []

    def request(self, method: str, url: str, **more: Any) -> Answer:
        self.asked.append(url)
        [(cloud, here)] = [(cloud, here) for cloud, here in self.routes.items() if url.startswith(f"{cloud}/")]
        answer = super().request(method, here + url[len(cloud) :], **more)
        body = answer.body.replace(b"https://login.microsoftonline.com", next(iter(self.routes)).encode())
        return replace(answer, body=body.replace(here.encode(), cloud.encode()))


@pytest.mark.parametrize(
    ("login", "graph"),
    [
        ("https://login.microsoftonline.com", "https://graph.microsoft.com"),
        ("https://login.microsoftonline.us", "https://graph.microsoft.us"),
        ("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
        ("https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"),
    ],
)
def test_a_national_cloud_is_a_matter_of_two_settings(login: str, graph: str, clock: Callable[[], datetime]) -> None:
    with running(World(clock=clock)) as sandbox:
        transport = Rerouted(login, graph, sandbox.login_url, sandbox.graph_url)
        entra = Entra(transport, login_base_url=login, tenant="organizations", scope=calendar_scope(graph))
        client = MicrosoftCalendar(transport, entra, graph_base_url=graph, clock=clock)
        made = sandbox.create_calendar(provider="microsoft", scope=f"{graph}/Calendars.Read offline_access")
        sandbox.create_event(made.calendar_id, start=clock().isoformat())
        credentials = Credentials(
            client_id=made.client_id, client_secret=made.client_secret, refresh_token=made.refresh_token
        )
        grant = client.authorize(credentials, now=clock(), meter=Meter())
        window = Window(start=clock() - timedelta(days=1), end=clock() + timedelta(days=9))
        news = client.news(grant, made.calendar_id, since=None, window=window, meter=Meter())
        assert len(news.items) == 1
        assert news.cursor.token.startswith(f"{graph}/v1.0/")
        assert {url.split("/v1.0")[0].split("/organizations")[0] for url in transport.asked} == {login, graph}
        transport.close()


# -- when a change was made ---------------------------------------------------------------------------------


def stamped(bench: Any) -> dict[str, datetime]:
    """Events whose time of change at the provider is known, by their names there."""
    return {
        key: row["provider_updated_at"] for key, row in bench.events().items() if row["provider_updated_at"] is not None
    }


def series_of(bench: Any) -> list[str]:
    """A daily series; its instances in the order of time."""
    bench.add("Daily", start="2026-11-24T12:00", recurrence=["RRULE:FREQ=DAILY;COUNT=5"])
    bench.sync()
    assert stamped(bench) == {}  # of a first listing nothing is known
    rows = bench.rows(
        "SELECT provider_event_id, series_id FROM calendar_event WHERE series_id <> '' ORDER BY starts_at"
    )
    assert {row["series_id"] for row in rows} != {None}
    return [row["provider_event_id"] for row in rows]


def test_the_delta_round_says_when_an_event_was_changed(bench: Any) -> None:
    kept, edited = bench.add("Kept"), bench.add("Edited")
    bench.sync()
    bench.clock.pass_by(minutes=20)
    at = bench.clock()
    bench.world.retitle_event(bench.cal.there, edited, "After")
    new = bench.add("New")
    fingerprint = bench.events()[kept]["fingerprint"]
    bench.asked()
    [outcome] = bench.tick(minutes=10)
    assert bench.asked() == {"calendarView.delta": 1, "calendarView": 1}  # it costs no request
    assert (outcome.created, outcome.updated, outcome.lag) == (1, 1, timedelta(minutes=10))
    assert bench.runs()[-1]["changed_at"] == at
    assert stamped(bench) == {edited: at, new: at}
    assert bench.events()[kept]["fingerprint"] == fingerprint
    assert [row["provider_updated_at"] for row in bench.history(since=2)] == [at, at]


def test_instances_changed_with_their_series(bench: Any) -> None:
    instances = series_of(bench)
    series = bench.events()[instances[0]]["series_id"]
    bench.clock.pass_by(minutes=20)
    at = bench.clock()
    bench.world.retitle_event(bench.cal.there, series, "Renamed")
    [outcome] = bench.tick(minutes=10)
    assert (outcome.updated, outcome.lag) == (5, timedelta(minutes=10))
    assert stamped(bench) == dict.fromkeys(instances, at)


def test_one_instance_was_changed_by_itself(bench: Any) -> None:
    instances = series_of(bench)
    bench.clock.pass_by(minutes=20)
    at = bench.clock()
    bench.world.move_event(bench.cal.there, instances[1], by=timedelta(minutes=15))
    [outcome] = bench.tick(minutes=10)
    assert (outcome.updated, outcome.lag) == (1, timedelta(minutes=10))
    assert stamped(bench) == {instances[1]: at}


@pytest.mark.parametrize("switch", ["duplicates", "replay"])
def test_what_a_round_tells_again_is_neither_a_change_nor_a_newer_one(bench: Any, switch: str) -> None:
    first, second = bench.add("First"), bench.add("Second")
    bench.sync()
    bench.world.set_switches({switch: True}, provider="microsoft")
    times = []
    for event in (first, second):
        bench.clock.pass_by(minutes=20)
        times.append(bench.clock())
        bench.world.retitle_event(bench.cal.there, event, "After")
        [outcome] = bench.tick(minutes=10)
        assert (outcome.changes, outcome.lag) == (1, timedelta(minutes=10))
    assert stamped(bench) == dict(zip((first, second), times, strict=True))
    bench.tick(minutes=30)
    assert len(bench.history()) == 4


def test_a_listing_without_times_of_change_changes_nothing(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.clock.pass_by(minutes=20)
    bench.world.retitle_event(bench.cal.there, event, "After")
    bench.tick(minutes=10)
    before = bench.events()
    outcome = bench.sync(full=True)
    assert (outcome.changes, outcome.drift) == (0, 0)
    assert bench.events() == before


def test_a_change_that_push_did_not_tell_is_a_miss(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.execute(
        "INSERT INTO notification_channel (id, calendar_id, project_id, platform, state, token_hash, path_hash,"
        " created_at, confirmed_at, expires_at)"
        " VALUES ('c', :cal, :project, 'microsoft', 'live', '', '', :now, :now, :now + interval '7 days')",
        project=bench.project,
        now=bench.clock(),
    )
    try:
        bench.clock.pass_by(minutes=20)
        bench.world.retitle_event(bench.cal.there, event, "After")
        [outcome] = bench.tick(minutes=10)
        assert (outcome.cause, outcome.updated, outcome.missed) == ("poll", 1, 1)
        assert (bench.row["misses"], bench.row["missed_at"]) == (1, bench.clock())
    finally:
        bench.execute("DELETE FROM notification_channel")
