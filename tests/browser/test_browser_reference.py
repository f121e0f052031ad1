"""The API reference in a real browser: it shows every operation, asks nobody else, and its own policy stops nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from api.app import create_app
from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from sandbox.server import listen
from tests.serving import serving


@pytest.fixture
def api(db: Database, keyring: KeyRing, tmp_path: Path) -> Iterator[str]:
    app = create_app(Settings(_env_file=None, state_dir=tmp_path), db=db, keyring=keyring)
    sock = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none"))
    with serving(server, sock):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_the_reference_shows_every_operation_and_tries_one(
    page: Page, api: str, db: Database, clock: Any, accessible: Callable[[Page], None]
) -> None:
    with db.begin() as conn:
        project = projects.create(conn, "reader", now=clock()).id
        key = projects.create_key(conn, project, now=clock()).secret
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{api}/docs")
    expect(page.get_by_role("heading", name="Calendar Pipeline")).to_be_visible()
    document = page.request.get(f"{api}/openapi.json").json()
    told = [method for item in document["paths"].values() for method in item if method != "parameters"]
    expect(page.locator(".opblock")).to_have_count(len(told))
    for tag in document["tags"]:
        expect(page.locator(f"[data-tag='{tag['name']}']")).to_be_visible()

    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("Value:").fill(f"Token {key}")
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator("#operations-Calendars-listCalendars .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    live = page.locator(".live-responses-table .response")
    expect(live.first).to_contain_text("200")
    expect(live.first).to_contain_text('"results": []')

    page.locator("#operations-Bots-createBot .opblock-summary-control").click()
    expect(page.locator("#operations-Bots-createBot .body-param__example")).to_contain_text("calendar_event_id")
    for scheme, paper in (("dark", "rgb(28, 32, 34)"), ("light", "rgba(0, 0, 0, 0)")):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_css("background-color", paper)
        accessible(page)
    assert said == []
    assert all(url.startswith((api, "data:")) for url in asked)
