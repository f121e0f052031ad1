"""Everything on one machine: PostgreSQL, sandbox, API, Dagster, and a demo calendar on its way through them.

Development's front door. Production runs the same parts under its own supervisor.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from calendar_pipeline import wiring
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database, dagster_url
from calendar_pipeline.errors import SetupError
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.settings import UP_NOTE, Settings
from calendar_pipeline.stopping import on
from calendar_pipeline.supervise import Supervisor, free_port, listens, require_free

START_SECONDS = 120.0
LOOPBACK = "127.0.0.1"
LOCAL_HOSTS = (LOOPBACK, "localhost")
LOCAL_NETWORKS = ("127.0.0.0/8", "::1/128")
DEMO = "demo"
DEMOS: Mapping[str, Mapping[str, str]] = {
    DEMO: {"platform": "google", "refresh_token": "sandbox-demo-refresh-token"},
    "demo-microsoft": {"platform": "microsoft", "refresh_token": "sandbox-demo-microsoft-refresh-token"},
}
"""The sandbox's demo calendars, by deduplication key."""
RECEIVER = "/_sandbox/webhooks/demo"
"""Where the sandbox receives the demo project's webhooks."""
TOLD = ["calendar.events_update", "calendar.state_change", "bot.state_change"]
DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the parts answer."""

    api: str
    dagster: str
    sandbox: str


class _Stopped(Exception):
    """Someone asked us to stop."""


def run(settings: Settings, *, with_sandbox: bool = True) -> int:
    """Start everything, say when it is ready, and stay until stopped; returns the exit code."""
    _require_ports(settings, with_sandbox=with_sandbox)
    with alone(settings.state_dir):
        stopping = on((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        supervisor = Supervisor()
        try:
            return _run(settings, supervisor, stopping, with_sandbox=with_sandbox)
        except _Stopped:
            return 0
        finally:
            supervisor.say("up", "stopping")
            supervisor.stop(quietly=stopping.is_set())


@contextmanager
def alone(state_dir: Path) -> Generator[None]:
    """Raise SetupError if another `up` has this state directory; nobody else gets it until the end."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"Another 'up' runs with the state directory {state_dir}: stop it, or set another STATE_DIR."
            ) from None
        yield


def _run(settings: Settings, supervisor: Supervisor, stopping: threading.Event, *, with_sandbox: bool) -> int:
    if not keyfile.file(settings).exists() and settings.calendar_pipeline_keys is None:
        keyfile.load(settings)
        supervisor.say("up", f"made a key for secrets at rest: {keyfile.file(settings)} (keep it; mode 0600)")
    supervisor.say("up", "starting PostgreSQL")
    url = wiring.database_url(settings)
    with Database(url, connections=2) as db:
        migrate.upgrade(db)
        demo_key = _demo_key(settings, db)
    at = Addresses(
        api=f"http://{settings.api_host}:{settings.api_port}",
        dagster=f"http://{settings.dagster_host}:{settings.dagster_port}",
        sandbox=settings.sandbox_url,
    )
    env = environment(settings, url, at, with_sandbox=with_sandbox)
    _note(settings, at, with_sandbox=with_sandbox)
    python = sys.executable
    if with_sandbox:
        supervisor.start(
            "sandbox",
            [python, "-m", "calendar_pipeline.cli", "sandbox", "serve", "--host", settings.sandbox_host,
             "--port", str(settings.sandbox_port), "--state", str(settings.state_dir / "sandbox.json"), "--demo"],
            env,
        )  # fmt: skip
    supervisor.start(
        "api",
        [python, "-m", "uvicorn", "api.asgi:app", "--host", settings.api_host, "--port", str(settings.api_port),
         "--no-server-header", "--no-access-log", "--log-level", "warning"],
        env,
    )  # fmt: skip
    # One code server for daemon and UI: left to themselves each starts its own, and the daemon a new one each minute.
    code_port = free_port(LOOPBACK)
    workspace = _workspace(settings, code_port)
    supervisor.start(
        "code",
        [python, "-m", "dagster", "code-server", "start", "-m", "calendar_pipeline.definitions", "-h", LOOPBACK,
         "-p", str(code_port), "--location-name", "calendar_pipeline", "--log-level", "warning"],
        env,
    )  # fmt: skip
    watch = _Watch(supervisor, stopping)
    watch.until("the code server", lambda: listens(LOOPBACK, code_port))
    supervisor.start("daemon", [python, "-m", "dagster._daemon", "run", "-w", workspace, "--log-level", "warning"], env)
    supervisor.start(
        "dagster",
        [python, "-m", "dagster_webserver", "-w", workspace, "-h", settings.dagster_host,
         "-p", str(settings.dagster_port), "--dagster-log-level", "warning"],
        env,
    )  # fmt: skip
    if with_sandbox:
        watch.until("the sandbox", lambda: _answers(f"{at.sandbox}/_sandbox/calendars"))
    watch.until("the API", lambda: _answers(f"{at.api}/readyz"))
    watch.until("Dagster", lambda: _answers(f"{at.dagster}/server_info"))
    if with_sandbox:
        if settings.environment == "development" and settings.sandbox_host in LOCAL_HOSTS:
            _tell_demo(at, demo_key)
        calendars = [_follow_demo(at, demo_key, key, body) for key, body in DEMOS.items()]
        watch.until(
            "the demo calendars' first sync by a Dagster run",
            lambda: all(_is_synced(at, demo_key, calendar) for calendar in calendars),
        )
    supervisor.say(
        "up",
        f"ready: Dagster {at.dagster} · API {at.api}/api/v1 · "
        + (f"sandbox {at.sandbox} · " if with_sandbox else "")
        + f"demo key {demo_key}",
    )
    while not stopping.wait(0.5):
        if (child := supervisor.dead()) is not None:
            supervisor.say("up", f"{child.name} ended with code {child.process.returncode}; stopping the rest")
            return 1
        if _postgres_ended(settings):
            log = settings.state_dir / "postgres" / "log"
            supervisor.say("up", f"PostgreSQL ended ({log} may say why); stopping the rest: start again to recover")
            return 1
    return 0


def _postgres_ended(settings: Settings) -> bool:
    """Whether the embedded PostgreSQL is gone; its clients would retry for ever. An operator's own is not watched."""
    if settings.database_url is not None and settings.database_url.get_secret_value():
        return False
    server = embedded.start(settings.state_dir)  # this process's handle, which starts nothing a second time
    return not server.get_postmaster_info().is_running()


@dataclass(frozen=True, slots=True)
class _Watch:
    supervisor: Supervisor
    stopping: threading.Event

    def until(self, what: str, answers: Callable[[], bool]) -> None:
        """Wait for `what`; raises SetupError if it does not come or a child ends, _Stopped if we are to stop."""
        self.supervisor.say("up", f"waiting for {what}")
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if self.stopping.wait(0.25):
                raise _Stopped
            if (child := self.supervisor.dead()) is not None:
                raise SetupError(f"{child.name} ended with code {child.process.returncode}; its last lines say why.")
            if time.monotonic() > deadline:
                raise SetupError(f"{what} did not come up within {START_SECONDS:.0f} s; see the lines above.")


def environment(settings: Settings, database_url: str, at: Addresses, *, with_sandbox: bool) -> dict[str, str]:
    """What the parts need to know, on top of the environment that we were started with."""
    state = settings.state_dir.resolve()
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    link = home / "dagster.yaml"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("dagster.yaml").resolve())
    return {
        **os.environ,
        "STATE_DIR": str(state),
        "DATABASE_URL": database_url,
        "DAGSTER_POSTGRES_URL": _dagster_database(settings, database_url),
        "DAGSTER_HOME": str(home),
        **DAGSTER_ENVIRONMENT,
        **(providers(at) if with_sandbox else {}),
        **receivers(settings),
    }


def providers(at: Addresses) -> dict[str, str]:
    """The provider addresses that lead to the sandbox."""
    google = f"{at.sandbox}/google"
    return {
        "GOOGLE_API_BASE_URL": google,
        "GOOGLE_TOKEN_URL": f"{google}/token",
        "GOOGLE_AUTHORIZE_URL": f"{google}/o/oauth2/v2/auth",
        "MICROSOFT_LOGIN_BASE_URL": f"{at.sandbox}/microsoft/login",
        "MICROSOFT_GRAPH_BASE_URL": f"{at.sandbox}/microsoft/graph",
        "PUBLIC_BASE_URL": at.api,  # the sandbox tells of changes over plain HTTP, on this machine
    }


def receivers(settings: Settings) -> dict[str, str]:
    """What lets webhooks go to a receiver on this machine, over plain HTTP. In development alone."""
    if settings.environment != "development":
        return {}
    networks = [part.strip() for part in settings.webhook_allowed_networks.split(",") if part.strip()]
    return {
        "WEBHOOK_ALLOW_HTTP": "true",
        "WEBHOOK_ALLOWED_NETWORKS": ",".join(dict.fromkeys([*networks, *LOCAL_NETWORKS])),
        "WEBHOOK_PORTS": "any",
    }


def _note(settings: Settings, at: Addresses, *, with_sandbox: bool) -> None:
    """Leave word for commands in other terminals; see `Settings.load`."""
    lines = {
        "API_PORT": settings.api_port,
        "DAGSTER_PORT": settings.dagster_port,
        "SANDBOX_PORT": settings.sandbox_port,
        **(providers(at) if with_sandbox else {}),
        **receivers(settings),
    }
    text = "".join(f"{name}={value}\n" for name, value in lines.items())
    (settings.state_dir / UP_NOTE).write_text("# Written by calendar-pipeline up.\n" + text)


DAGSTER_ENVIRONMENT: Mapping[str, str] = {
    # One planned event per asset and run instead of one per partition: minutes against seconds for a full cycle.
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
}


def _workspace(settings: Settings, port: int) -> str:
    """A workspace file that names the shared code server."""
    path = settings.state_dir.resolve() / "dagster" / "workspace.yaml"
    path.write_text(
        "load_from:\n  - grpc_server:\n"
        f"      host: {LOOPBACK}\n      port: {port}\n      location_name: calendar_pipeline\n"
    )
    return str(path)


def _dagster_database(settings: Settings, database_url: str) -> str:
    if settings.dagster_postgres_url is not None:
        return dagster_url(settings.dagster_postgres_url.get_secret_value())
    embedded.create_database(database_url, DAGSTER_DATABASE)
    return dagster_url(make_url(database_url).set(database=DAGSTER_DATABASE))


def _require_ports(settings: Settings, *, with_sandbox: bool) -> None:
    wanted = [
        ("the API", settings.api_host, settings.api_port, "--api-port", "API_PORT"),
        ("the Dagster UI", settings.dagster_host, settings.dagster_port, "--dagster-port", "DAGSTER_PORT"),
    ]
    if with_sandbox:
        wanted.append(("the sandbox", settings.sandbox_host, settings.sandbox_port, "--sandbox-port", "SANDBOX_PORT"))
    for what, host, port, flag, variable in wanted:
        require_free(host, port, what=what, flag=flag, variable=variable)


def _demo_key(settings: Settings, db: Database) -> str:
    """The API key of the project ``demo``: made on first start, kept in the state directory for the next ones."""
    path = settings.state_dir / "demo-key"
    now = wiring.utc_now()
    with db.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": migrate.LOCK})
        if (
            path.exists()
            and (key := path.read_text().strip())
            and projects.find_key(connection, key, now=wiring.utc_now())
        ):
            return key
        existing = [project for project in projects.all_projects(connection) if project.name == DEMO]
        project = existing[0] if existing else projects.create(connection, DEMO, now=now)
        secret = projects.create_key(connection, project.id, now=now).secret
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    return secret


def _follow_demo(at: Addresses, api_key: str, key: str, body: Mapping[str, str]) -> str:
    """A demo calendar's id; it is created on first start."""
    found = _get(f"{at.api}/api/v1/calendars?deduplication_key={key}", api_key)["results"]
    if isinstance(found, list) and found:
        return str(found[0]["id"])
    client = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "deduplication_key": key}
    return str(_request(f"{at.api}/api/v1/calendars", api_key, {**client, **body})["id"])


def _tell_demo(at: Addresses, api_key: str) -> None:
    """Tell the sandbox of the demo project's events: the webhook is made on first start, and leads to it ever after."""
    address = f"{at.sandbox}{RECEIVER}"
    known = _get(f"{at.api}/api/v1/webhooks", api_key)["results"]
    assert isinstance(known, list)
    ours = next((row for row in known if str(row["url"]).endswith(RECEIVER)), None)
    if ours is None:
        new = {"url": address, "triggers": TOLD, "content": "changes", "secret": "own"}
        made = _request(f"{at.api}/api/v1/webhooks", api_key, new)
        _expect(at, str(made["signing_secret"]))
        return
    webhook = f"{at.api}/api/v1/webhooks/{ours['id']}"
    if ours["disabled_reason"] != "operator" and (ours["url"] != address or ours["state"] != "enabled"):
        _request(webhook, api_key, {"url": address, "enabled": True}, method="PATCH")
    if not _post(f"{at.sandbox}/_sandbox/do/expects_webhooks", {"name": DEMO}):
        made = _request(f"{webhook}/rotate_secret", api_key, {"overlap_hours": 0})
        _expect(at, str(made["signing_secret"]))


def _expect(at: Addresses, secret: str) -> None:
    """Let the sandbox know by what it tells our webhooks from others'."""
    _post(f"{at.sandbox}/_sandbox/do/expect_webhooks", {"name": DEMO, "secret": secret})


def _is_synced(at: Addresses, api_key: str, calendar: str) -> bool:
    return _get(f"{at.api}/api/v1/calendars/{calendar}", api_key)["last_successful_sync_at"] is not None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _get(url: str, key: str) -> dict[str, object]:
    return _request(url, key, None)


def _post(url: str, body: Mapping[str, object]) -> object:
    """What the sandbox's controls answer; they ask for no key."""
    return _request(url, "none", body)


def _request(url: str, key: str, body: Mapping[str, object] | None, *, method: str | None = None) -> dict[str, object]:
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Token {key}", "content-type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        raise SetupError(f"The API answered {refused.code} to {request.get_method()} {url}.") from None
