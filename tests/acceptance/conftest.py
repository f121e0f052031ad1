"""An installation of its own, started as a user starts it, and stopped by its process ids whatever happens."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof
from calendar_pipeline.settings import Settings
from sandbox.client import Client
from tests.chromium import browser, page
from tests.processes import has_group

__all__ = ["browser", "page"]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("calendar-pipeline")
OURS = {name.upper() for name in Settings.model_fields} | {"SANDBOX_URL", "SANDBOX_CALENDAR", "DAGSTER_HOME"}
PATIENCE = 150.0
"""Seconds before a test gives up; a machine may be busy with other things."""


def until(what: str, answer: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """The first true answer; what we wait for may not be reachable yet."""
    deadline = time.monotonic() + seconds
    said: object = None
    while time.monotonic() < deadline:
        try:
            if found := answer():
                return found
        except (httpx.TransportError, psycopg.OperationalError, OSError) as trouble:
            said = trouble
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}; last trouble: {said}")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of the tests without any setting of ours in it, and `more`."""
    return {name: value for name, value in os.environ.items() if name not in OURS} | {"COLUMNS": "80"} | more


def command(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`calendar-pipeline …` to its end."""
    return subprocess.run(
        [PROGRAM, *arguments], cwd=ROOT, env=dict(environment), capture_output=True, text=True, timeout=120, check=False
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held at once, so they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def installation_environment() -> Callable[[], dict[str, str]]:
    """A clean environment with free ports for an installation that a test starts by itself, without a live standby."""

    def made() -> dict[str, str]:
        ports = zip(("API_PORT", "DAGSTER_PORT", "SANDBOX_PORT"), map(str, free_ports(3)), strict=True)
        return clean_environment(LIVE_STANDBY="0", **dict(ports))

    return made


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed, with changes that are not yet.

    Its .venv is this one's programs and libraries under stamps of its own, so that nothing is downloaded a second
    time: that the lock files install, a run of `make test` in a fresh clone has shown by the time it comes here.
    """
    there = tmp_path_factory.mktemp("clean") / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, there], check=True)
    changed = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    if changed:
        subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=there, input=changed, check=True)
    (there / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (there / ".venv" / part.name).symlink_to(part)
    for stamp in (".runtime", ".dev"):
        (there / ".venv" / stamp).unlink(missing_ok=True)
        (there / ".venv" / stamp).touch()
    return there


class Installation:
    """`calendar-pipeline up` on a state directory and ports of its own, or a command of `root` that starts it."""

    until = staticmethod(until)

    def __init__(self, directory: Path, *, root: Path = ROOT, **settings: str) -> None:
        self._root = root
        self.state = directory / "state"
        self.log = directory / "up.log"
        self.log.touch()
        self.ports = free_ports(4)
        self.api_port, self.dagster_port, self.sandbox_port, self.notetaker_port = self.ports
        self.api_url, self.dagster_url, self.sandbox_url, self.notetaker_url = (
            f"http://127.0.0.1:{port}" for port in self.ports
        )
        self.environment = clean_environment(STATE_DIR=str(self.state), **settings)
        if root != ROOT:
            self.environment["PYTHONPATH"] = str(root)
        self.groups: set[int] = set()
        self.key = self.ready_line = ""
        self.up: subprocess.Popen[bytes] | None = None
        self._began = 0
        self._http = httpx.Client(trust_env=False, timeout=60)
        self.sandbox = Client(self.sandbox_url)

    # -- its life

    def start(self, *words: str) -> None:
        """Start, with `words` or as usual, and wait for the line that says that all is ready."""
        self._began = self.log.stat().st_size
        ports = zip(("--api-port", "--dagster-port", "--sandbox-port"), map(str, self.ports[:3]), strict=True)
        usual = [sys.executable, "-m", "calendar_pipeline.cli", "up", *(word for pair in ports for word in pair)]
        with self.log.open("ab") as log:
            self.up = subprocess.Popen(
                words or usual,
                cwd=self._root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until("the line that says ready", self._is_ready)

    def _is_ready(self) -> bool:
        assert self.up is not None
        if self.up.poll() is not None:
            raise AssertionError(f"up ended with {self.up.returncode}:\n{self.output()}")
        if found := re.search(r"^ +up \| (ready: .* demo key (\S+))$", self.output(), re.MULTILINE):
            self.ready_line, self.key = found[1], found[2]
        return found is not None

    def output(self) -> str:
        """What this start has printed so far."""
        return self.log.read_bytes()[self._began :].decode(errors="replace")

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        assert self.up is not None
        self.processes()
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(90)

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to the installation, found by its state directory; their groups are remembered."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                mine = process.environ().get("STATE_DIR") == str(self.state)
                if (mine or any(str(self.state) in word for word in process.cmdline())) and process.pid != os.getpid():
                    found[process.pid] = process
                    found |= {child.pid: child for child in process.children(recursive=True)}
        living = []
        for process in found.values():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE:
                    self.groups.add(os.getpgid(process.pid))
                    living.append(process)
        return living

    def part(self, *words: str) -> list[psutil.Process]:
        """Processes whose command line holds all of `words`."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
        return found

    def leaves_nothing(self) -> None:
        """Assert that no process, no process group and no listener of it is left."""
        until("all of its processes to end", lambda: not self.processes(), seconds=20)
        until("all of its process groups to end", lambda: not any(map(has_group, self.groups)), seconds=20)
        for port in self.ports:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))

    def close(self) -> None:
        """End whatever still runs, by process id."""
        if self.up is not None and self.up.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        for _ in range(3):
            for process in self.processes():
                with suppress(psutil.Error):
                    process.kill()
        if self.up is not None:
            self.up.kill()
            self.up.wait(10)
        self.sandbox.close()
        self._http.close()

    # -- what one can ask it

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command in another terminal."""
        return command(*arguments, environment=self.environment | more)

    def get(self, url: str) -> httpx.Response:
        """Any address."""
        return self._http.get(url)

    def api(self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str) -> Any:
        """The API's answer, which must be a success; an absolute `path` is followed as it is."""
        answer = self._http.request(
            method,
            path if path.startswith("http") else f"{self.api_url}/api/v1{path}",
            json=body,
            params=query or None,
            headers={"Authorization": f"Token {self.key}"},
        )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def graphql(self, query: str, **variables: Any) -> Any:
        """What the Dagster UI would be told."""
        answer = self._http.post(f"{self.dagster_url}/graphql", json={"query": query, "variables": variables})
        told = answer.json()
        assert "errors" not in told, told
        return told["data"]

    def partitions(self, asset: str = "event_history") -> Any:
        """The asset's partitions by state, as the UI shows them."""
        return self.graphql(
            """query($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
                partitionKeys partitionStats { numPartitions numMaterialized numFailed }
                assetPartitionStatuses { ... on DefaultPartitionStatuses {
                    materializedPartitions failedPartitions unmaterializedPartitions } } } } }""",
            path=[asset],
        )["assetNodeOrError"]

    def materialised(self, asset: str = "event_history") -> set[str]:
        """Partitions shown green."""
        return set(self.partitions(asset)["assetPartitionStatuses"]["materializedPartitions"])

    def run(self, run_id: str) -> Any:
        """A run's status and tags."""
        told = self.graphql(
            """query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value }
                eventConnection(limit: 1000) { events { ... on MessageEvent { message }
                    ... on ExecutionStepFailureEvent { error { message } } } } } } }""",
            id=run_id,
        )["runOrError"]
        told["tags"] = {tag["key"]: tag["value"] for tag in told["tags"]}
        return told

    def rows(self, statement: str, *parameters: object, database: str = "calendar_pipeline") -> list[Any]:
        """Rows of one statement."""
        with psycopg.connect(self._conninfo(database), autocommit=True, row_factory=namedtuple_row) as connection:
            return connection.execute(statement, parameters).fetchall()  # pyright: ignore[reportArgumentType]

    def _conninfo(self, database: str) -> str:
        return f"host={self._postmaster()[4]} user=postgres dbname={database} connect_timeout=5"

    def _postmaster(self) -> list[str]:
        return (self.state / "postgres" / "postmaster.pid").read_text().splitlines()

    @property
    def postmaster(self) -> int:
        """The process id of its PostgreSQL."""
        return int(self._postmaster()[0])

    @contextmanager
    def database(self) -> Iterator[Any]:
        """A connection as the program makes it."""
        url = f"postgresql://postgres@/calendar_pipeline?host={self._postmaster()[4]}"
        with Database(url, connections=1) as db, db.single() as connection:
            yield connection

    def follow(self, given: Any, **more: object) -> str:
        """Follow a sandbox calendar through the API; our id of it."""
        body = {"platform": "google", "client_id": given.client_id, "client_secret": given.client_secret}
        body |= {"refresh_token": given.refresh_token, "platform_uuid": given.calendar_id}
        return str(self.api("POST", "/calendars", body | more)["id"])

    # -- what must hold

    def events(self, calendar: str) -> list[Any]:
        """All of a calendar's events that the API shows, page by page."""
        page = self.api("GET", "/calendar_events", calendar_id=calendar)
        found = list(page["results"])
        while page["next"]:
            page = self.api("GET", page["next"])
            found += page["results"]
        return found

    def equals_provider(self, calendar: str, provider_id: str) -> None:
        """Assert that the current events are the provider's own listing of the held window, field by field."""
        assert self.differences(calendar, provider_id) == {}

    def differences(self, calendar: str, provider_id: str) -> dict[str, Any]:
        """Events that differ from the provider's listing of the held window: ours, theirs."""
        [held] = self.rows("SELECT held_from, held_until FROM calendar WHERE id = %s", calendar)
        if held.held_from is None:
            return {"calendar": "never listed"}
        zone = next(row["zone"] for row in self.sandbox.calendars() if row["id"] == provider_id)
        theirs = {
            item["id"]: _as_stored(item, zone)
            for item in self.sandbox.listing(provider_id, time_min=held.held_from, time_max=held.held_until)
        }
        ours = {
            row.provider_event_id: _stored(row)
            for row in self.rows(
                "SELECT * FROM calendar_event WHERE calendar_id = %s AND NOT is_deleted"
                " AND ends_at > %s AND starts_at < %s",
                calendar,
                held.held_from,
                held.held_until,
            )
        }
        keys = ours.keys() | theirs.keys()
        return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}

    def history_is_whole(self) -> None:
        """Assert that the history replays to the current events and that its numbers have no hole."""
        with self.database() as connection:
            assert proof.replay_differences(connection) == []
            assert proof.holes(connection) == []
        odd = self.rows(
            "SELECT event_id FROM event_history GROUP BY event_id"
            " HAVING max(version) <> count(*) OR count(DISTINCT version) <> count(*)"
        )
        assert odd == []


NOISE = ("etag", "updated")
RESPONSES = {"needsAction": "needs_action", None: None}


def _as_stored(item: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """What a row should say of a provider's item; shares no code with the program."""
    people = item.get("attendees", [])
    mine = next((one.get("responseStatus") for one in people if one.get("self")), None)
    if mine is None and item.get("organizer", {}).get("self"):
        mine = "organizer"
    return {
        "raw": {key: value for key, value in item.items() if key not in NOISE},
        "title": item.get("summary"),
        "ical_uid": item.get("iCalUID"),
        "starts_at": _instant(item["start"], zone),
        "ends_at": _instant(item["end"], zone),
        "start_date": _day(item["start"]),
        "end_date": _day(item["end"]),
        "start_time": _instant(item["start"], "UTC"),
        "end_time": _instant(item["end"], "UTC"),
        "time_zone": item["start"].get("timeZone", zone),
        "status": item["status"],
        "organizer_email": item.get("organizer", {}).get("email"),
        "own_response": RESPONSES.get(mine, mine),
        "attendees": [one.get("email") for one in people],
        "series_id": item.get("recurringEventId"),
        "original_starts_at": _instant(item["originalStartTime"], zone) if "originalStartTime" in item else None,
        "location": item.get("location"),
        "visibility": item.get("visibility", "default"),
        "is_busy": item.get("transparency") != "transparent",
        "event_type": item.get("eventType", "default"),
        "has_link": "://" in str(item.get("hangoutLink", item.get("conferenceData", ""))),
    }


def _stored(row: Any) -> dict[str, Any]:
    columns = row._asdict()
    shown = {
        "raw": {key: value for key, value in row.raw.items() if key not in NOISE},
        "attendees": [one["email"] for one in row.attendees],
        "has_link": "conferenceData" in row.raw or ("hangoutLink" in row.raw and row.meeting_url is not None),
    }
    names = (
        "title ical_uid starts_at ends_at start_date end_date start_time end_time time_zone status organizer_email"
        " own_response series_id original_starts_at location visibility is_busy event_type"
    )
    return shown | {name: columns[name] for name in names.split()}


def _day(moment: Mapping[str, str]) -> date | None:
    return date.fromisoformat(moment["date"]) if "date" in moment else None


def _instant(moment: Mapping[str, str], zone: str) -> datetime:
    if day := _day(moment):
        return datetime.combine(day, time_of_day(), ZoneInfo(zone)).astimezone(UTC)
    return datetime.fromisoformat(moment["dateTime"]).astimezone(UTC)


@pytest.fixture(scope="module")
def new_installation() -> Iterator[Callable[..., Installation]]:
    """Makes installations; what runs of them in the end is stopped."""
    directory = Path(tempfile.mkdtemp(prefix="cp-accept-")).resolve()
    directory.chmod(0o755)  # the embedded PostgreSQL may run as another user
    made: list[Installation] = []

    def make(**settings: str) -> Installation:
        installation = Installation(directory, **settings)
        made.append(installation)
        return installation

    try:
        yield make
    finally:
        for installation in made:
            installation.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def stranger() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `calendar-pipeline …` with an environment that holds only what is given."""

    def run(arguments: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, environment=clean_environment(**settings))

    return run
