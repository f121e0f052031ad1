"""``make example``: Notetaker over everything it needs, against the sandbox; Ctrl-C stops it all.

Starts `calendar-pipeline up`, makes a project with its OAuth clients and webhook by the command line, as an operator
would, and two people with calendars in the sandbox.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import httpx

PROGRAM = Path(sys.executable).with_name("calendar-pipeline")
PROJECT = re.compile(r"^project +(\S+)\nAPI key +(\S+)\nwebhook secret +(\S+)$", re.MULTILINE)
STATE = Path(os.environ.get("STATE_DIR", ".calendar-pipeline"))
TRIGGERS = ("calendar.events_update", "calendar.state_change", "bot.state_change")
CLIENT = {"client_id": "notetaker", "client_secret": "sandbox-secret"}


def main() -> int:
    """Run until stopped; returns the exit code."""
    ports = {name: int(os.environ.get(name, default)) for name, default in PORTS.items()}
    api = f"http://127.0.0.1:{ports['API_PORT']}"
    base = f"http://127.0.0.1:{ports['NOTETAKER_PORT']}"
    environment = {
        **os.environ,
        **{name: str(port) for name, port in ports.items()},
        "PUBLIC_BASE_URL": api,
        "WEBHOOK_ALLOW_HTTP": "true",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_PORTS": str(ports["NOTETAKER_PORT"]),
    }
    up = subprocess.Popen([PROGRAM, "up"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def stop(_number: int, _frame: FrameType | None) -> None:
        _stop(up)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        if not _is_ready(up):
            return up.wait()
        keys = _project(environment, api, base)
        _people(f"http://127.0.0.1:{ports['SANDBOX_PORT']}", api)
        notetaker = subprocess.Popen(
            [sys.executable, "-m", "examples.notetaker"],
            env={**environment, **keys, "NOTETAKER_API_URL": f"{api}/api/v1", "NOTETAKER_BASE_URL": base}
            | {"NOTETAKER_DATABASE": str(STATE / "notetaker.sqlite3")},
            start_new_session=True,
        )
        sys.stdout.write(f"\n  Notetaker is at {base}: sign in with any address, and connect ada@example.com\n\n")
        sys.stdout.flush()
        try:
            return up.wait()
        finally:
            notetaker.terminate()
            notetaker.wait(20)
    finally:
        _stop(up)
        up.wait(60)


PORTS: Mapping[str, str] = {
    "API_PORT": "8000",
    "DAGSTER_PORT": "3000",
    "SANDBOX_PORT": "8090",
    "NOTETAKER_PORT": "8100",
}


def _is_ready(up: subprocess.Popen[str]) -> bool:
    """Pass on what `up` says until it is ready; False if it ended. From then on a thread passes it on."""
    assert up.stdout is not None
    for line in up.stdout:
        sys.stdout.write(line)
        if "| ready:" in line:
            threading.Thread(target=sys.stdout.writelines, args=(up.stdout,), daemon=True).start()
            return True
    return False


def _stop(up: subprocess.Popen[str]) -> None:
    if up.poll() is None:
        up.send_signal(signal.SIGTERM)


def _project(environment: Mapping[str, str], api: str, base: str) -> dict[str, str]:
    """Notetaker's keys: made on first start, kept in the state directory for the next ones."""
    kept = STATE / "notetaker.json"
    if not kept.exists():
        found = PROJECT.search(_run(environment, "project", "create", "Notetaker"))
        if found is None:
            raise SystemExit("The project's keys could not be read.")
        project, key, secret = found.groups()
        kept.touch(mode=0o600)
        kept.write_text(json.dumps({"project": project, "key": key, "secret": secret, "api": api, "base": base}))
        triggers = [word for trigger in TRIGGERS for word in ("--trigger", trigger)]
        _run(environment, "webhooks", "create", project, f"{base}/webhooks", *triggers)
    keys = json.loads(kept.read_text())
    for platform in ("google", "microsoft"):
        _run(
            environment, "connect", "register", platform, "--project", keys["project"], "--client-id",
            CLIENT["client_id"], "--return-url", f"{base}/connected", stdin=CLIENT["client_secret"],
        )  # fmt: skip
    return {"NOTETAKER_API_KEY": keys["key"], "NOTETAKER_WEBHOOK_SECRET": keys["secret"]}


def _people(sandbox: str, api: str) -> None:
    """Ada at Google, Grace at Microsoft, with a meeting or two; they are there already on later starts."""
    redirects = [f"{api}/connect/{platform}/callback" for platform in ("google", "microsoft")]
    _do(sandbox, "create_client", CLIENT | {"redirect_uris": redirects})
    soon = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for account, provider, meetings in (
        ("ada@example.com", "google", ("Planning", "Interview with Mary", "Design review")),
        ("grace@contoso.example", "microsoft", ("Compiler review", "One to one")),
    ):
        try:
            made = _do(sandbox, "create_calendar", {"account": account, "provider": provider, "client_id": "other"})
        except httpx.HTTPStatusError:
            continue
        _do(sandbox, "create_calendar", {"account": account, "provider": provider, "summary": "Team"})
        for day, title in enumerate(meetings, 1):
            code = "-".join("".join(secrets.choice("abcdefghij") for _ in range(length)) for length in (3, 4, 3))
            event = {
                "calendar_id": made["calendar_id"],
                "title": title,
                "start": f"{soon + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}",
                "link": f"https://meet.google.com/{code}",
            }
            _do(sandbox, "create_event", event)


def _do(sandbox: str, operation: str, given: Mapping[str, object]) -> dict[str, str]:
    answer = httpx.post(f"{sandbox}/_sandbox/do/{operation}", json=given, timeout=30, trust_env=False)
    return answer.raise_for_status().json() or {}


def _run(environment: Mapping[str, str], *words: str, stdin: str = "") -> str:
    arguments: Sequence[str | Path] = (PROGRAM, *words)
    done = subprocess.run(arguments, env=environment, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"calendar-pipeline {words[0]} {words[1]}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
