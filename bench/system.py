"""Everything running, as `up` starts it, in a state directory of its own on free ports; and what it costs."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from bench import fleet
from calendar_pipeline.db.connect import Database
from sandbox.client import Client


@dataclass(frozen=True, slots=True)
class System:
    """Everything running, as `up` starts it."""

    state: Path
    api: str
    dagster: str
    sandbox: Client
    db: Database
    dagster_db: Database
    key: str
    process: int

    def ask(self, query: str, **variables: object) -> Any:
        """One GraphQL request to the Dagster UI's own endpoint."""
        answer = post(f"{self.dagster}/graphql", {"query": query, "variables": variables}, {})
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        return answer["data"]

    def call(self, path: str, body: Mapping[str, object]) -> Any:
        """One POST to our API."""
        return post(f"{self.api}/api/v1{path}", body, {"authorization": f"Token {self.key}"})

    def number(self, statement: str) -> int:
        """One number from the product's database."""
        with self.db.single() as connection:
            return int(connection.execute(sa.text(statement)).scalar_one())

    def dagsters_number(self, statement: str) -> int:
        """One number from Dagster's database."""
        with self.dagster_db.single() as connection:
            return int(connection.execute(sa.text(statement)).scalar_one())

    def cpu(self) -> tuple[float, float]:
        """CPU seconds so far: of all our processes and Dagster's, and of PostgreSQL. The sandbox's own are not ours."""
        server = int((self.state / "postgres" / "postmaster.pid").read_text().split()[0])
        ours = psutil.Process(self.process)
        apart = [child for child in ours.children() if "sandbox" in child.cmdline()]
        return _seconds(ours) - sum(map(_seconds, apart)), _seconds(psutil.Process(server))


def _seconds(root: psutil.Process) -> float:
    """CPU of a process and all that it started: what ended is counted with who waited for it."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


@contextmanager
def running(*, push: bool = True, environment: Mapping[str, str] | None = None) -> Generator[System]:
    """`up` in a temporary state directory; stopped in the end. Without `push` no provider can reach it."""
    if push:
        with _up([], environment or {}) as (system, box), Client(f"http://127.0.0.1:{box}") as client:
            yield system(client)
        return
    with fleet.sandbox() as client:
        providers = {
            "GOOGLE_API_BASE_URL": f"{client.url}/google",
            "GOOGLE_TOKEN_URL": f"{client.url}/google/token",
            "MICROSOFT_LOGIN_BASE_URL": f"{client.url}/microsoft/login",
            "MICROSOFT_GRAPH_BASE_URL": f"{client.url}/microsoft/graph",
        }
        with _up(["--no-sandbox"], {**providers, **(environment or {})}) as (system, _):
            yield system(client)


@contextmanager
def _up(arguments: Sequence[str], environment: Mapping[str, str]) -> Generator[tuple[Callable[[Client], System], int]]:
    with tempfile.TemporaryDirectory(prefix="cp-system-") as directory:
        state = Path(directory)
        state.chmod(0o755)
        api, dagster, box = _free_ports(3)
        command = [sys.executable, "-m", "calendar_pipeline.cli", "up", "--api-port", str(api), *arguments]
        command += ["--dagster-port", str(dagster), "--sandbox-port", str(box)]
        log = state / "up.log"
        with log.open("w") as sink:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment, "STATE_DIR": directory},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            wait(lambda: "ready:" in log.read_text(), 180)
            url = f"postgresql://postgres@/calendar_pipeline?host={state / 'postgres'}"
            with (
                Database(url, connections=2) as db,
                Database(url.replace("/calendar_pipeline?", "/dagster?"), connections=1) as dagster_db,
            ):
                key = (state / "demo-key").read_text().strip()
                at = (state, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{dagster}")
                yield lambda client: System(*at, client, db, dagster_db, key, process.pid), box
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def post(url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Any:
    """JSON there and back."""
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"content-type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def wait(done: Callable[[], bool], seconds: float) -> None:
    """Until `done`; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
