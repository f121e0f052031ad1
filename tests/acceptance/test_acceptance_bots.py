"""A bot made over the API follows its event; API, sync, bots, provider and runner are processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import generate
from sandbox.server import Running, running

ROOT = Path(__file__).parents[2]
MEET, ZOOM = "https://meet.google.com/abc-defg-hij", "https://zoom.us/j/123456789"


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def environment(database_url: str, sandbox: Running, attendee: Any, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "CALENDAR_PIPELINE_KEYS": generate("bots"),
        "STATE_DIR": str(tmp_path),
        "GOOGLE_API_BASE_URL": f"{sandbox.url}/google",
        "GOOGLE_TOKEN_URL": sandbox.token_url,
        "BOT_RUNNER": "attendee",
        "BOT_RUNNER_URL": attendee.url,
        "BOT_RUNNER_API_KEY": "key",
        "BOT_RUNNER_TIMEOUT_SECONDS": "1",
    }


@pytest.fixture
def api(environment: dict[str, str], db: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    """The API as a process, and a client with a key."""
    log = tmp_path / "api.log"
    with log.open("wb") as out:
        words = [sys.executable, "-m", "uvicorn", "api.asgi:app", "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(words, cwd=ROOT, env=os.environ | environment, stdout=out, stderr=out)
    try:
        with db.begin() as conn:
            project = projects.create(conn, "acceptance", now=datetime.now(UTC))
            key = projects.create_key(conn, project.id, now=datetime.now(UTC)).secret
        url = None
        while url is None:
            assert process.poll() is None, log.read_text()
            line = next((line for line in log.read_text().splitlines() if "running on http" in line), None)
            url = line.split("running on ")[1].split()[0] if line else None
            time.sleep(0.05)
        headers = {"Authorization": f"Token {key}"}
        with httpx.Client(base_url=f"{url}/api/v1", headers=headers, trust_env=False, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def test_through_edits_and_disconnection_the_api_shows_what_the_rules_say(
    api: httpx.Client,
    db: Database,
    sandbox: Running,
    attendee: Any,
    environment: dict[str, str],
    stranger: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    provider = sandbox.create_calendar(account="bots@example.com")
    given = {"platform": "google", "client_id": provider.client_id, "client_secret": provider.client_secret}
    calendar = api.post(
        "/calendars",
        json=given | {"refresh_token": provider.refresh_token, "platform_uuid": provider.calendar_id},
    ).json()["id"]
    start = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    event = sandbox.create_event(provider.calendar_id, start=start.isoformat(), minutes=60, link=MEET)["id"]

    def sync() -> None:
        stranger(["sync", calendar], **environment)

    def settle() -> None:
        sync()
        ended = stranger(["bots", "run"], **environment)
        assert ended.returncode == 0, ended.stderr

    def shown() -> dict[str, Any] | None:
        """The bot as GET, the listing and its event show it: alike."""
        answer = api.get(f"/bots/{bot}")
        [its_event] = api.get("/calendar_events").json()["results"]
        found = answer.json() if answer.status_code == 200 else None
        expected = [] if found is None else [found]
        assert its_event["bots"] == expected == api.get("/bots").json()["results"]
        return found

    settle()
    event_id = api.get("/calendar_events").json()["results"][0]["id"]
    made = {"bot_name": "Notes", "calendar_event_id": event_id, "deduplication_key": event_id}
    bot = api.post("/bots", json=made).json()["id"]
    settle()

    sandbox.move_event(provider.calendar_id, event, by=timedelta(hours=1))
    settle()
    assert shown()["join_at"] == (start + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    sandbox.set_link(provider.calendar_id, event, ZOOM)
    settle()
    assert shown()["meeting_url"] == ZOOM
    sandbox.set_link(provider.calendar_id, event, None)
    settle()
    assert (shown()["state"], shown()["meeting_url"]) == ("scheduled", ZOOM)
    sandbox.set_link(provider.calendar_id, event, MEET)
    settle()
    assert shown()["meeting_url"] == MEET
    sandbox.cancel_event(provider.calendar_id, event)
    settle()
    assert shown() is None
    sandbox.restore_event(provider.calendar_id, event)
    settle()
    assert shown()["id"] == bot

    sandbox.revoke(provider.refresh_token)
    with db.begin() as conn:  # the cached token would be good for another hour, and a first refusal is a suspicion
        conn.execute(sa.text("UPDATE calendar SET access_token = NULL, suspected_at = now() - interval '1 hour'"))
    sync()
    assert api.get(f"/calendars/{calendar}").json()["state"] == "disconnected"
    assert shown() is None
    api.patch(f"/calendars/{calendar}", json={"refresh_token": sandbox.issue_refresh_token(provider.account)})
    settle()
    assert api.get(f"/calendars/{calendar}").json()["state"] == "connected"
    assert (shown()["id"], shown()["state"]) == (bot, "scheduled")
    assert attendee.bots == {}

    attendee.faults = ["500"]
    sandbox.move_event(provider.calendar_id, event, to=datetime.now(UTC).isoformat())
    settle()
    assert shown()["state"] == "staged"
    attendee.faults = ["", "drop"]
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now()"))
    stranger(["bots", "run"], **environment)
    attendee.stop()
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now()"))
    stranger(["bots", "run"], **environment)
    attendee.start()
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now()"))
    stranger(["bots", "run"], **environment)
    assert shown()["state"] == "joining"
    [there] = attendee.of(bot)
    assert there["meeting_url"] == MEET
    why = stranger(["why", event_id], **environment).stdout
    for word in ("moved", "link changed", "suspended", "restored", "cancelled", "not taken", "launched"):
        assert word in why
