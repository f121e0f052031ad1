"""`calendar-pipeline up` as a new user meets it: one command, and a calendar that can be watched changing."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from calendar_pipeline.secrets.keyring import KeyRing, Place

DEMO = "demo@example.com"
MICROSOFT_DEMO = "demo-microsoft@example.com"
CANARY = "kanarienvogel"
"""A word in every secret and every title of the people below; nobody else uses it."""

# Of next week's Tuesday in both demo calendars: neither over nor out of the window, whatever day it is.
UPCOMING = "Interview: backend"
MICROSOFT_UPCOMING = "Hiring panel"

SELECTION = [{"path": ["provider_events"]}, {"path": ["event_history"]}]
RECONNECTED = f"{CANARY}-refresh-again"


@dataclass
class Person:
    """A sandbox calendar that is followed, by our id and the provider's."""

    id: str
    provider_id: str
    event: str


@pytest.fixture(scope="module")
def here(new_installation: Callable[..., Any]) -> Any:
    installation = new_installation(SYNC_LEASE_SECONDS="20")
    installation.start()
    return installation


@pytest.fixture(scope="module")
def demo(here: Any) -> str:
    [calendar] = here.api("GET", "/calendars", deduplication_key="demo")["results"]
    return str(calendar["id"])


@pytest.fixture(scope="module")
def microsoft_demo(here: Any) -> str:
    [calendar] = here.api("GET", "/calendars", deduplication_key="demo-microsoft")["results"]
    return str(calendar["id"])


def connect(here: Any, name: str) -> Person:
    """A person with one event, whose calendar is followed through the API."""
    made = here.sandbox.create_calendar(
        account=f"{name}@example.com",
        client_id=f"client-of-{name}",
        client_secret=f"{CANARY}-secret-{name}",
        refresh_token=f"{CANARY}-refresh-{name}",
    )
    start = (here.sandbox.now() + timedelta(days=2)).isoformat()
    event = here.sandbox.create_event(made.calendar_id, start=start, title=f"{CANARY} meets {name}")
    return Person(here.follow(made, metadata={"user": name}), made.calendar_id, event["id"])


@pytest.fixture(scope="module")
def people(here: Any, demo: str, microsoft_demo: str) -> list[Person]:
    """Two more calendars, followed and synced."""
    made = [connect(here, name) for name in ("ada", "grace")]
    wanted = {demo, microsoft_demo, *(person.id for person in made)}
    here.until("the new calendars to be synced", lambda: here.materialised() == wanted)
    return made


@pytest.fixture(scope="module", autouse=True)
def backfill(here: Any, demo: str, microsoft_demo: str, people: list[Person]) -> str:
    """A backfill of all partitions, asked for as the UI does. Its daemon looks twice a minute: it goes on meanwhile."""
    keys = here.partitions()["partitionKeys"]
    assert set(keys) == {demo, microsoft_demo, *(person.id for person in people)}
    launched = here.graphql(
        """mutation($given: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $given) {
            ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        given={"assetSelection": SELECTION, "partitionNames": keys},
    )
    return str(launched["launchPartitionBackfill"]["backfillId"])


def history(here: Any, calendar: str, event: str) -> list[Any]:
    """What was recorded of one event."""
    return list(
        here.rows(
            "SELECT * FROM event_history WHERE calendar_id = %s AND provider_event_id = %s ORDER BY version",
            calendar,
            event,
        )
    )


def shown(here: Any, calendar: str, event: str) -> Any:
    """The event as the API shows it; None if it does not."""
    return next((one for one in here.events(calendar) if one["platform_uuid"] == event), None)


def test_the_ready_line_names_addresses_that_answer_and_a_key_that_opens(here: Any) -> None:
    api, ui, sandbox, _ = here.ports
    assert here.ready_line.startswith(
        f"ready: Dagster http://127.0.0.1:{ui} · API http://127.0.0.1:{api}/api/v1 · "
        f"sandbox http://127.0.0.1:{sandbox} · demo key cp_"
    )
    assert here.get(f"{here.api_url}/healthz").json() == {"status": "ok"}
    assert here.get(f"{here.api_url}/readyz").json() == {"status": "ready"}
    assert "/calendars" in " ".join(here.get(f"{here.api_url}/openapi.json").json()["paths"])
    assert "dagster" in here.get(here.dagster_url).text.lower()
    assert DEMO in [row["id"] for row in here.sandbox.calendars()]
    assert here.get(f"{here.api_url}/api/v1/calendars").status_code == 401
    assert here.api("GET", "/calendars")["results"]


def test_the_demo_calendar_is_what_the_provider_lists(here: Any, demo: str) -> None:
    """Its first sync was a Dagster run, and both assets show it."""
    for asset in ("provider_events", "event_history"):
        assert demo in here.materialised(asset)
    [first] = here.rows("SELECT * FROM sync_run WHERE calendar_id = %s ORDER BY id LIMIT 1", demo)
    assert (first.outcome, first.mode, first.why) == ("synced", "listing", "first")
    run = here.run(first.run_id)
    assert run["status"] == "SUCCESS" or (run["status"] == "STARTED" and "calendar_pipeline/live" in run["tags"])
    assert first.created > 20
    here.equals_provider(demo, DEMO)


def test_the_microsoft_demo_calendar_is_followed_too(here: Any, microsoft_demo: str) -> None:
    """Read through msal and Graph by the time all is ready; what happens to it is read by the next sync."""
    provider_id = here.sandbox.credentials(MICROSOFT_DEMO).calendar_id
    held = {one["platform_uuid"]: one for one in here.events(microsoft_demo)}
    [window] = here.rows("SELECT held_from, held_until FROM calendar WHERE id = %s", microsoft_demo)
    told = here.sandbox.listing(provider_id, time_min=window.held_from, time_max=window.held_until)
    # Held beyond what the API shows, as for every calendar.
    rows = here.rows(
        "SELECT provider_event_id FROM calendar_event WHERE calendar_id = %s AND NOT is_deleted", microsoft_demo
    )
    assert {row.provider_event_id for row in rows} == {one["id"] for one in told if not one["isCancelled"]}
    assert len(held) > 20
    assert any("teams.microsoft.com" in (one["meeting_url"] or "") for one in held.values())
    event = here.sandbox.find_event(provider_id, MICROSOFT_UPCOMING)
    here.sandbox.retitle_event(provider_id, event, f"{MICROSOFT_UPCOMING}, again")
    assert here.command("sync", microsoft_demo).returncode == 0
    assert shown(here, microsoft_demo, event)["name"] == f"{MICROSOFT_UPCOMING}, again"


def test_a_moved_event_is_read_by_a_run_from_the_ui(here: Any, demo: str) -> None:
    event = here.sandbox.find_event(DEMO, UPCOMING)
    before = shown(here, demo, event)
    moved = here.command("sandbox", "move", UPCOMING, "--by", "30m", "--calendar", DEMO)
    assert (moved.returncode, moved.stderr) == (0, "")
    assert moved.stdout.startswith(f"moved '{UPCOMING}'")
    assert event in moved.stdout

    launched = here.graphql(
        """mutation($given: ExecutionParams!) { launchRun(executionParams: $given) {
            ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        given={
            "mode": "default",
            "selector": {
                "repositoryLocationName": "calendar_pipeline",
                "repositoryName": "__repository__",
                "jobName": "__ASSET_JOB",
                "assetSelection": SELECTION,
            },
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": demo}]},
        },
    )["launchRun"]["run"]["runId"]
    here.until("the run to succeed", lambda: here.run(launched)["status"] == "SUCCESS")

    after = shown(here, demo, event)
    half_an_hour = timedelta(minutes=30)
    for edge in ("start_time", "end_time"):
        assert datetime.fromisoformat(after[edge]) - datetime.fromisoformat(before[edge]) == half_an_hour
    assert (after["id"], after["name"]) == (before["id"], UPCOMING)
    created, updated = history(here, demo, event)
    assert (created.change, created.version, updated.change, updated.version) == ("created", 1, "updated", 2)
    assert set(updated.changed) == {"starts_at", "ends_at", "start_time", "end_time", "raw"}
    assert datetime.fromisoformat(updated.before["starts_at"]) == created.starts_at
    assert updated.starts_at == created.starts_at + half_an_hour == datetime.fromisoformat(after["start_time"])
    here.equals_provider(demo, DEMO)


def test_a_patch_is_followed_by_a_live_run_or_one_of_the_sensor_within_seconds(here: Any, people: list[Person]) -> None:
    person = people[0]
    here.sandbox.retitle_event(person.provider_id, person.event, f"{CANARY} has another title")
    answer = here.api("PATCH", f"/calendars/{person.id}", {"metadata": {"user": "ada"}})
    asked = datetime.fromisoformat(answer["updated_at"])
    here.until("the new title", lambda: shown(here, person.id, person.event)["name"] == f"{CANARY} has another title")
    created, updated = history(here, person.id, person.event)
    assert (updated.change, updated.changed) == ("updated", ["title", "raw"])
    assert updated.before["title"] == created.title
    assert updated.recorded_at - asked < timedelta(seconds=60)
    runs = here.rows("SELECT run_id FROM sync_run WHERE calendar_id = %s AND started_at >= %s", person.id, asked)
    causes = [here.run(row.run_id)["tags"] for row in runs]
    assert any(
        "calendar_pipeline/live" in tags or tags.get("dagster/sensor_name") == "calendar_sensor" for tags in causes
    ) or all("dagster/backfill" in tags for tags in causes)
    here.equals_provider(person.id, person.provider_id)


@pytest.fixture(scope="module")
def guests(here: Any, backfill: str) -> dict[str, Person]:
    """Two calendars that come after the backfill: one that is to leave, one whose access is to be revoked."""
    made = {name: connect(here, name) for name in ("leaver", "revoker")}
    wanted = {person.id for person in made.values()}
    here.until("the guests to be synced", lambda: wanted <= here.materialised())
    return made


def test_a_new_calendar_is_a_partition_and_a_deleted_one_is_none(here: Any, guests: dict[str, Person]) -> None:
    leaver = guests["leaver"]
    here.equals_provider(leaver.id, leaver.provider_id)
    [event] = here.events(leaver.id)
    assert (event["platform_uuid"], event["name"]) == (leaver.event, f"{CANARY} meets leaver")

    here.api("DELETE", f"/calendars/{leaver.id}")
    here.until("its partition to go", lambda: leaver.id not in here.partitions()["partitionKeys"])
    assert here.events(leaver.id) == []
    assert [row.change for row in history(here, leaver.id, leaver.event)] == ["created"]


def test_revoked_access_is_red_until_the_user_reconnects(here: Any, demo: str, guests: dict[str, Person]) -> None:
    person = guests["revoker"]
    others = here.materialised() - {person.id}
    here.sandbox.revoke_account(person.provider_id)
    here.api("PATCH", f"/calendars/{person.id}", {"metadata": {"user": "revoker"}})
    here.until(
        "the partition to fail",
        lambda: here.partitions()["assetPartitionStatuses"]["failedPartitions"] == [person.id],
    )
    partitions = here.partitions()
    assert partitions["partitionStats"]["numFailed"] == 1
    assert set(partitions["assetPartitionStatuses"]["materializedPartitions"]) == others >= {demo}

    calendar = here.api("GET", f"/calendars/{person.id}")
    assert calendar["state"] == "disconnected"
    failure = calendar["connection_failure_data"]
    assert failure["error"].startswith("Google Authentication error: ")
    assert "invalid_grant" in failure["error"]
    assert datetime.fromisoformat(failure["timestamp"]).utcoffset() == timedelta()
    last = here.rows("SELECT * FROM sync_run WHERE calendar_id = %s ORDER BY id DESC LIMIT 1", person.id)[0]
    assert (last.outcome, last.error_code) == ("disconnected", "invalid_grant")
    run = here.run(last.run_id)
    assert run["status"] == "FAILURE"
    said = json.dumps(run["eventConnection"])
    assert f"{person.id} (invalid_grant)" in said
    assert "the user must reconnect the calendar" in said
    assert shown(here, person.id, person.event)["is_deleted"] is False, "the data stay"

    here.sandbox.create_calendar(  # consents once more: a new refresh token for the same account
        account=person.provider_id,
        calendar_id="another",
        client_id="client-of-revoker",
        client_secret=f"{CANARY}-secret-revoker",
        refresh_token=RECONNECTED,
    )
    here.sandbox.retitle_event(person.provider_id, person.event, f"{CANARY} while away")
    here.api("PATCH", f"/calendars/{person.id}", {"refresh_token": RECONNECTED})
    here.until("the partition to be green", lambda: person.id in here.materialised())
    assert here.partitions()["assetPartitionStatuses"]["failedPartitions"] == []
    calendar = here.api("GET", f"/calendars/{person.id}")
    assert (calendar["state"], calendar["connection_failure_data"]) == ("connected", None)
    assert [row.change for row in history(here, person.id, person.event)] == ["created", "updated"]
    here.equals_provider(person.id, person.provider_id)


def test_a_stranger_finds_the_way_by_the_commands(here: Any, demo: str, people: list[Person]) -> None:
    examined = here.command("doctor", "--json")
    findings = {row["check"]: row for row in json.loads(examined.stdout)}
    assert (examined.returncode, examined.stderr) == (0, "")
    assert {row["level"] for row in findings.values()} == {"ok"}
    assert findings["history replay"]["text"] == "gives the current events"
    assert "0 failing" in findings["calendars"]["text"]

    person = people[1]
    here.sandbox.set_switches(person.provider_id, push={"loss": 1.0})  # else a live run is sooner than a command
    here.sandbox.retitle_event(person.provider_id, person.event, f"{CANARY} by hand")
    one = here.command("sync", person.id)
    assert (one.returncode, one.stderr) == (0, "")
    assert person.id in one.stdout
    assert "synced" in one.stdout
    assert "1 updated" in one.stdout
    assert shown(here, person.id, person.event)["name"] == f"{CANARY} by hand"

    here.sandbox.cancel_event(person.provider_id, person.event)
    everything = here.command("sync", "--all")
    assert everything.returncode == 0
    assert person.id in everything.stdout
    assert demo not in everything.stdout, "where nothing changed, nothing is said"
    assert "5 calendars" in everything.stdout
    assert shown(here, person.id, person.event)["is_deleted"] is True

    made = here.command("project", "create", "acme")
    assert (made.returncode, made.stderr) == (0, "")
    told = dict(re.findall(r"^(project|API key|webhook secret) +(\S+)$", made.stdout, re.MULTILINE))
    assert set(told) == {"project", "API key", "webhook secret"}
    theirs = here._http.get(f"{here.api_url}/api/v1/calendars", headers={"Authorization": f"Token {told['API key']}"})
    assert (theirs.status_code, theirs.json()["results"]) == (200, [])
    here.strangers = told


def test_a_backfill_of_all_partitions_lists_them_anew(
    here: Any, backfill: str, demo: str, microsoft_demo: str, people: list[Person]
) -> None:
    def ended() -> Any:
        told = here.graphql(
            """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
                status partitionStatusCounts { runStatus count } } } }""",
            id=backfill,
        )["partitionBackfillOrError"]
        return told["status"] not in ("REQUESTED", "COMPLETING") and told

    assert here.until("the backfill to end", ended)["status"] == "COMPLETED_SUCCESS"
    runs = here.graphql(
        """query($tags: [ExecutionTag!]) {
            runsOrError(filter: {tags: $tags}) { ... on Runs { results { runId } } } }""",
        tags=[{"key": "dagster/backfill", "value": backfill}],
    )["runsOrError"]["results"]
    ids = [run["runId"] for run in runs]
    rows = here.rows("SELECT calendar_id, outcome, mode, why FROM sync_run WHERE run_id = ANY(%s)", ids)
    assert sorted(rows) == sorted(
        (calendar, "synced", "listing", "asked")
        for calendar in (demo, microsoft_demo, *(person.id for person in people))
    )


def test_fault_54_nothing_that_is_secret_or_personal_is_told(here: Any, guests: dict[str, Person]) -> None:
    """Not in the output, Dagster's storage and files, PostgreSQL's log, or any command line."""
    ring = (here.state / "keys").read_text().strip()
    keys = KeyRing.parse(ring)
    sealed = here.rows("SELECT id, project_id, access_token FROM calendar WHERE access_token IS NOT NULL")
    access = [
        keys.open(
            bytes(row.access_token),
            Place(table="calendar", column="access_token", row=row.id, project=row.project_id),
        )
        for row in sealed
    ]
    assert len(access) >= 3
    titles = {row.title for row in here.rows("SELECT DISTINCT title FROM event_history WHERE title ~ ' '")}
    secrets = {CANARY, *access, ring.partition(":")[2], "sandbox-secret", here.key, *titles}
    secrets |= {here.strangers["API key"], here.strangers["webhook secret"]}
    assert len(titles) > 5

    places = {"output": here.output().replace(here.ready_line, "")}
    for table in here.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database="dagster"):
        rows = here.rows(f'SELECT t::text AS text FROM "{table.tablename}" AS t', database="dagster")
        places[table.tablename] = "\n".join(row.text for row in rows)
    files = [here.state / "postgres" / "log", *(here.state / "dagster").rglob("*")]
    places |= {str(path): path.read_text(errors="replace") for path in files if path.is_file()}
    places |= {f"process {process.pid}": " ".join(process.cmdline()) for process in here.processes()}
    assert len(places["event_logs"]) > 10_000
    assert len(places["runs"]) > 1_000
    told = {(where, secret) for where, text in places.items() for secret in secrets if secret in text}
    assert told == set()


def test_the_history_is_whole(here: Any) -> None:
    here.history_is_whole()


def test_sigterm_ends_it_all(here: Any) -> None:
    """No process, no process group, no listener; the state stays, readable by its owner alone where it is secret."""
    state: Path = here.state
    assert here.stop() == 0
    before, stopping, after = here.output().partition("up | stopping")
    assert stopping
    assert "Traceback" not in before
    assert not re.search("Traceback|Stack Trace", after)
    here.leaves_nothing()
    assert len(here.groups) >= 5
    for name in ("keys", "demo-key"):
        assert (state / name).stat().st_mode & 0o777 == 0o600
