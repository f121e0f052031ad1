"""A real browser, and everything that it talks to: sandbox, API, stages and Notetaker, on loopback and this machine.

`browser` and `page` are for any web page (`tests/chromium.py`); `stack` is a whole installation without Dagster, whose
stages a thread works.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from api.app import create_app
from calendar_pipeline import wiring
from calendar_pipeline.bots import run as bots
from calendar_pipeline.connect import store as connect
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar
from calendar_pipeline.ingest import run as ingest
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import run as webhooks
from calendar_pipeline.webhooks import subscriptions
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.model import NewSubscription
from calendar_pipeline.webhooks.run import Dispatch
from examples.notetaker.app import create_app as create_notetaker
from examples.notetaker.serve import Server
from examples.notetaker.settings import Settings as NotetakerSettings
from sandbox.server import Running, listen, running
from tests.chromium import SCREENS, browser, page
from tests.serving import serving

__all__ = ["browser", "page"]

expect.set_options(timeout=20_000)


@pytest.fixture
def shot() -> Callable[[Page, str], None]:
    """Keeps a picture of the page, light and dark, and finds nothing that keeps people out of it."""

    def shot(page: Page, name: str) -> None:
        SCREENS.mkdir(parents=True, exist_ok=True)
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            check(page)
            page.screenshot(path=SCREENS / f"{name}-{scheme}.png", full_page=True, animations="disabled")

    return shot


@pytest.fixture
def accessible() -> Callable[[Page], None]:
    """Asserts that axe-core finds nothing serious on a page."""
    return check


AT_REST = """() => Promise.allSettled(document.getAnimations()
    .filter(one => one.effect.getComputedTiming().endTime !== Infinity).map(one => one.finished)).then(() => null)"""


def check(page: Page) -> None:
    """Assert that axe-core finds nothing serious, once the page has its style and its colours are at rest."""
    page.wait_for_load_state()
    page.evaluate(AT_REST)
    found = Axe().run(page).response["violations"]
    bad = [
        (one["id"], one["impact"], [node["html"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert bad == []


@dataclass(frozen=True)
class Stack:
    """What a test can do to the world, and where the pages are."""

    sandbox: Running
    db: Database
    api_url: str
    notetaker_url: str
    project_id: str
    key: str
    api: uvicorn.Server

    def stop_api(self) -> None:
        """It answers nobody any more."""
        self.api.should_exit = True
        deadline = time.monotonic() + 30
        while self.api.servers and any(one.is_serving() for one in self.api.servers):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def ask_sync(self) -> None:
        """As a push or a PATCH would."""
        with self.db.begin() as conn:
            conn.execute(
                sa.update(calendar).values(requested_gen=calendar.c.requested_gen + 1, next_sync_at=sa.func.now())
            )

    def forget_access_tokens(self) -> None:
        """As after an hour."""
        with self.db.begin() as conn:
            conn.execute(sa.update(calendar).values(access_token=None, access_token_expires_at=None))


class Stages(threading.Thread):
    """Works the stages in turn, as the live path does, until stopped."""

    def __init__(self, *stages: Callable[[], object]) -> None:
        super().__init__(name="stages", daemon=True)
        self._stages = stages
        self._end = threading.Event()
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._end.wait(0.1):
                for stage in self._stages:
                    stage()
        except BaseException as trouble:
            self.trouble = trouble
            raise

    def stop(self) -> None:
        self._end.set()
        self.join(30)
        assert self.trouble is None, self.trouble


@pytest.fixture
def stack(database_url: str, keyring: KeyRing, tmp_path: Path) -> Iterator[Stack]:
    """An installation with a project that Notetaker is a client of, and people with calendars."""
    with ExitStack() as held:
        sandbox = held.enter_context(running())
        sock, notes = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
        api_url, notetaker_url = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (sock, notes))
        settings = Settings(
            _env_file=None,
            state_dir=tmp_path,
            database_url=database_url,
            public_base_url=api_url,
            google_api_base_url=f"{sandbox.url}/google",
            google_token_url=f"{sandbox.url}/google/token",
            google_authorize_url=f"{sandbox.url}/google/o/oauth2/v2/auth",
            microsoft_login_base_url=f"{sandbox.url}/microsoft/login",
            microsoft_graph_base_url=f"{sandbox.url}/microsoft/graph",
            calendar_pipeline_keys=KEYS,
        )
        db = held.enter_context(Database(database_url))
        ring = KeyRing.parse(KEYS)
        now = datetime.now(UTC)
        with db.begin() as conn:
            project = projects.create(conn, "Notetaker", now=now).id
            key = projects.create_key(conn, project, now=now).secret
            secret = projects.set_webhook_secret(conn, ring, project, now=now)
            for platform in ("google", "microsoft"):
                connect.register(
                    conn,
                    ring,
                    project,
                    platform,
                    client_id="notetaker",
                    client_secret="sandbox-secret",
                    return_urls=[f"{notetaker_url}/connected"],
                    now=now,
                )
            triggers = ("calendar.events_update", "calendar.state_change", "bot.state_change")
            new = NewSubscription(url=f"{notetaker_url}/webhooks", triggers=triggers)
            subscriptions.create(conn, ring, project, [new], now=now)
        redirects = [f"{api_url}/connect/{platform}/callback" for platform in ("google", "microsoft")]
        sandbox.create_client("notetaker", redirect_uris=redirects)
        people(sandbox)
        config = uvicorn.Config(create_app(settings), log_config=None, access_log=False, server_header=False, ws="none")
        api = uvicorn.Server(config)
        held.enter_context(serving(api, sock))
        told = NotetakerSettings.load(
            {
                "NOTETAKER_API_URL": f"{api_url}/api/v1",
                "NOTETAKER_API_KEY": key,
                "NOTETAKER_WEBHOOK_SECRET": secret,
                "NOTETAKER_BASE_URL": notetaker_url,
                "NOTETAKER_DATABASE": str(tmp_path / "notetaker.sqlite3"),
                "NOTETAKER_POLL_SECONDS": POLL,
            }
        )
        held.enter_context(serving(Server(create_notetaker(told)), notes))
        reading = wiring.ingest(settings, db)
        sending = Dispatch(
            db=db,
            keyring=ring,
            policy=Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None),
            clock=lambda: datetime.now(UTC),
        )
        following = wiring.bots(settings, db)
        stages = Stages(
            lambda: ingest.sync_due(reading, limit=10, threads=2),
            lambda: bots.work(following),
            lambda: webhooks.deliver(sending),
        )
        stages.start()
        held.callback(stages.stop)
        yield Stack(sandbox, db, api_url, notetaker_url, project, key, api)


KEYS = "test:" + "A" * 43 + "="
POLL = "600"
"""So long that only webhooks can be the reason for what a page shows."""


def people(sandbox: Running) -> None:
    """Ada at Google with two calendars, Grace at Microsoft, Bob with another account."""
    ada = sandbox.create_calendar(account="ada@example.com", summary="ada@example.com", client_id="other")
    team = sandbox.create_calendar(account="ada@example.com", summary="Team", client_id="other")
    sandbox.create_calendar(account="bob@example.com", client_id="other")
    grace = sandbox.create_calendar(account="grace@contoso.example", provider="microsoft", client_id="other")
    soon = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=26)
    for made, title, hours, link in (
        (ada, "Planning", 0, "https://meet.google.com/abc-defg-hij"),
        (ada, "Interview with Mary", 1, "https://us02web.zoom.us/j/86012345678?pwd=demo"),
        (ada, "Focus time", 3, None),
        (team, "Team retrospective", 2, "https://meet.google.com/xyz-abcd-efg"),
        (grace, "Compiler review", 0, "https://teams.microsoft.com/l/meetup-join/19%3ameeting_a%40thread.v2/0?context=%7b%22Tid%22%3a%221%22%2c%22Oid%22%3a%222%22%7d"),
    ):  # fmt: skip
        sandbox.create_event(
            made.calendar_id, title=title, start=f"{soon + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}", link=link
        )
