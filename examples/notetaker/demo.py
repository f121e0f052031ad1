"""``make example``: Notetaker over everything it needs, against the sandbox; Ctrl-C stops it all.

Starts `calendar-pipeline up`, makes a project with its OAuth clients and webhook, as an operator would, and two people
with calendars in the sandbox. What a start finds from an earlier one it keeps.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

PROGRAM = Path(sys.executable).with_name("calendar-pipeline")
PROJECT = re.compile(r"^project +(\S+)\nAPI key +(\S+)\nwebhook secret +(\S+)$", re.MULTILINE)
STATE = Path(os.environ.get("STATE_DIR", ".calendar-pipeline"))
TRIGGERS = ("calendar.events_update", "calendar.state_change", "bot.state_change")
CLIENT = {"client_id": "notetaker", "client_secret": "sandbox-secret"}
LOOPBACK = "127.0.0.1"
PORTS: Mapping[str, str] = {
    "API_PORT": "8000",
    "DAGSTER_PORT": "3000",
    "SANDBOX_PORT": "8090",
    "NOTETAKER_PORT": "8100",
}
PEOPLE = (
    ("ada@example.com", "google", ("Planning", "Interview with Mary", "Design review")),
    ("grace@contoso.example", "microsoft", ("Compiler review", "One to one")),
)
LETTERS = "abcdefghij"
START_SECONDS = 60.0
STOP_SECONDS = 60.0


class _Stopped(Exception):
    """Someone asked us to stop."""


class Demo:
    """The two children, and that they end together."""

    def __init__(self) -> None:
        self._ports = {name: int(os.environ.get(name, default)) for name, default in PORTS.items()}
        self._api = f"http://{LOOPBACK}:{self._ports['API_PORT']}"
        self._base = f"http://{LOOPBACK}:{self._ports['NOTETAKER_PORT']}"
        self._environment = {**os.environ, **{name: str(port) for name, port in self._ports.items()}}
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._is_stopping = False

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """A signal came, perhaps into the handling of another: whatever is done here waits for no lock."""
        self._is_stopping = True
        for child in self._children.values():
            _terminate(child)

    def run(self) -> int:
        """Until stopped, or until a child ends by itself; returns the exit code."""
        try:
            _require_free(self._ports["NOTETAKER_PORT"])
            up = self._start("calendar-pipeline up", [PROGRAM, "up"], self._environment, stdout=subprocess.PIPE)
            if not _is_ready(up):
                return 0 if self._is_stopping else up.wait()
            keys = self._project()
            _webhook(self._api, keys["NOTETAKER_API_KEY"], f"{self._base}/webhooks")
            _people(f"http://{LOOPBACK}:{self._ports['SANDBOX_PORT']}", self._api)
            told = {"NOTETAKER_API_URL": f"{self._api}/api/v1", "NOTETAKER_BASE_URL": self._base}
            told["NOTETAKER_DATABASE"] = str(STATE / "notetaker.sqlite3")
            self._start("Notetaker", [sys.executable, "-m", "examples.notetaker"], self._environment | keys | told)
            self._wait_for_notetaker()
            _say(f"\n  Notetaker is at {self._base}: sign in with any address, and connect ada@example.com\n")
            while not self._is_stopping:
                self._require_children()
                time.sleep(0.25)
        except _Stopped:
            pass
        except httpx.HTTPError:
            if not self._is_stopping:  # else whom we asked is on the way down, as it should be
                raise
        finally:
            self._end()
        return 0

    def _start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], *, stdout: int | None = None
    ) -> subprocess.Popen[str]:
        """A child in a session of its own: the terminal's Ctrl-C reaches us alone, and we stop it."""
        child = subprocess.Popen(command, env=dict(environment), stdout=stdout, text=True, start_new_session=True)
        self._children[name] = child
        return child

    def _require_children(self) -> None:
        for name, child in self._children.items():
            if child.poll() is not None and not self._is_stopping:
                raise SystemExit(f"{name} ended with code {child.returncode}; the lines above may say why.")

    def _wait_for_notetaker(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self._base):
            if self._is_stopping:
                raise _Stopped
            self._require_children()
            if time.monotonic() > deadline:
                raise SystemExit(f"Notetaker did not answer within {START_SECONDS:.0f} s.")
            time.sleep(0.1)

    def _end(self) -> None:
        """Nothing of ours outlives us."""
        for child in reversed(self._children.values()):
            _terminate(child)
        for child in self._children.values():
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def _project(self) -> dict[str, str]:
        """Notetaker's keys: made on first start, kept in the state directory for the next ones."""
        kept = STATE / "notetaker.json"
        if not kept.exists():
            found = PROJECT.search(self._command("project", "create", "Notetaker"))
            if found is None:
                raise SystemExit("The project's keys could not be read.")
            project, key, secret = found.groups()
            kept.touch(mode=0o600)
            kept.write_text(json.dumps({"project": project, "key": key, "secret": secret}))
        keys = json.loads(kept.read_text())
        for platform in ("google", "microsoft"):
            self._command(
                "connect", "register", platform, "--project", keys["project"], "--client-id", CLIENT["client_id"],
                "--return-url", f"{self._base}/connected", stdin=CLIENT["client_secret"],
            )  # fmt: skip
        return {"NOTETAKER_API_KEY": keys["key"], "NOTETAKER_WEBHOOK_SECRET": keys["secret"]}

    def _command(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [PROGRAM, *words], env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        if self._is_stopping:
            raise _Stopped
        if done.returncode:
            raise SystemExit(f"calendar-pipeline {words[0]} {words[1]}: {done.stdout}{done.stderr}")
        return done.stdout


def _is_ready(up: subprocess.Popen[str]) -> bool:
    """Pass on what `up` says until it is ready; False if it ended. From then on a thread passes it on."""
    assert up.stdout is not None
    for line in up.stdout:
        _say(line.removesuffix("\n"))
        if "| ready:" in line:
            threading.Thread(target=_pass_on, args=(up,), daemon=True).start()
            return True
    return False


def _pass_on(up: subprocess.Popen[str]) -> None:
    for line in up.stdout or ():
        _say(line.removesuffix("\n"))


def _say(line: str) -> None:
    print(line, flush=True)


def _terminate(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)


def _require_free(port: int) -> None:
    """Raise SystemExit if the port is taken; `up` looks after its own."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            text = f"Port {port}, wanted for Notetaker, cannot be used ({error.strerror}). Set NOTETAKER_PORT."
            raise SystemExit(text) from None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _webhook(api: str, key: str, address: str) -> None:
    """The project's webhook leads to Notetaker, wherever that is this time."""
    headers = {"Authorization": f"Token {key}"}
    with httpx.Client(base_url=f"{api}/api/v1", headers=headers, timeout=30, trust_env=False) as http:
        known = http.get("/webhooks").raise_for_status().json()["results"]
        if not known:
            http.post("/webhooks", json={"url": address, "triggers": list(TRIGGERS)}).raise_for_status()
        elif (known[0]["url"], known[0]["state"]) != (address, "enabled"):
            http.patch(f"/webhooks/{known[0]['id']}", json={"url": address, "enabled": True}).raise_for_status()


def _people(sandbox: str, api: str) -> None:
    """Ada at Google, Grace at Microsoft; each start sees to it that all their meetings are ahead of them."""
    with httpx.Client(base_url=f"{sandbox}/_sandbox", timeout=30, trust_env=False) as http:

        def do(operation: str, **given: object) -> Any:
            return http.post(f"/do/{operation}", json=given).raise_for_status().json()

        redirects = [f"{api}/connect/{platform}/callback" for platform in ("google", "microsoft")]
        do("create_client", **CLIENT, redirect_uris=redirects)
        known = {one["id"] for one in http.get("/calendars").raise_for_status().json()}
        now = datetime.now(UTC)
        for account, provider, meetings in PEOPLE:
            if account not in known:
                do("create_calendar", account=account, provider=provider, client_id="other")
                do("create_calendar", account=account, provider=provider, client_id="other", summary="Team")
            listed = http.get(f"/calendars/{account}/listing", params={"time_min": now.isoformat()})
            ahead = {one.get("summary", one.get("subject")) for one in listed.raise_for_status().json()}
            for day, title in enumerate(meetings, 1):
                if title not in ahead:
                    start = now.replace(minute=0, second=0, microsecond=0) + timedelta(days=day)
                    do("create_event", calendar_id=account, title=title, start=start.isoformat(), link=_link())


def _link() -> str:
    """An address as Google Meet has them."""
    return "https://meet.google.com/" + "-".join("".join(secrets.choice(LETTERS) for _ in range(n)) for n in (3, 4, 3))


def main() -> int:
    """Run until stopped; returns the exit code."""
    demo = Demo()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, demo.stop)
    return demo.run()


if __name__ == "__main__":
    raise SystemExit(main())
