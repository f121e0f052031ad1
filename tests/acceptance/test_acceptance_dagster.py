"""Dagster's UI as an operator meets it, in a browser: what is well, which calendar failed and why, how it is mended."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.chromium import SCREENS

CHECKS = ("drift", "freshness", "horizon", "quarantine_empty", "replay")
CLIENT = "client-of-eve"
PATIENCE = 120_000.0
"""Milliseconds that a page may take to show what a run has done; a machine may be busy with other things."""
FAILED = re.compile(
    r"1 of \d+ calendars failed\. 1 × operator \(invalid_client\): the provider refuses our OAuth client: "
    r"check its id, secret, API activation and quota\. (cal_\w+) \(invalid_client\)"
)


@pytest.fixture(scope="module")
def here(new_installation: Callable[..., Any]) -> Any:
    """An installation whose syncs are all ordinary runs: a live run leaves it to one to turn a partition red."""
    installation = new_installation(LIVE_RUNS="0", LIVE_STANDBY="0")
    installation.start()
    return installation


@pytest.fixture
def ui(here: Any, page: Page) -> Callable[..., None]:
    """Opens a page of an asset of the installation."""
    page.set_viewport_size({"width": 1180, "height": 700})

    def open_(asset: str, **query: str) -> None:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        page.goto(f"{here.dagster_url}/assets/{asset}?{asked}", timeout=PATIENCE)

    return open_


def keep(page: Page, name: str) -> None:
    """Keep a picture of the window for the documentation."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=SCREENS / f"{name}.png", animations="disabled")


def seen(locator: Locator, count: int = 1) -> None:
    """Assert that the page comes to show it."""
    expect(locator).to_have_count(count, timeout=PATIENCE)
    expect(locator.first).to_be_visible(timeout=PATIENCE)


def test_the_asset_shows_its_checks_and_its_figures(page: Page, ui: Callable[..., None]) -> None:
    """All checks are run by a click and hold, with what they looked at; figures are plots over the partitions."""
    ui("event_history", view="checks")
    for name in CHECKS:
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Execute all").click()
    seen(page.get_by_text("Succeeded", exact=True), len(CHECKS))
    seen(page.get_by_text("Passed", exact=True))
    expect(page.get_by_text("checked", exact=True).first).to_be_visible(timeout=PATIENCE)

    ui("event_history")
    page.get_by_text("Columns", exact=True).click()  # folds a long table away
    page.get_by_role("button", name="Plots").click()
    seen(page.get_by_text("Latest check results", exact=True))
    for figure in ("created", "updated", "deleted", "quarantined"):
        seen(page.get_by_text(figure, exact=True))
    expect(page.locator("canvas").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_function(
        """() => [...document.querySelectorAll("canvas")].filter(canvas => canvas.width > 0 &&
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)).length >= 4""",
        timeout=PATIENCE,
    )
    keep(page, "dagster-asset")


def test_a_failed_calendar_is_red_with_its_message_and_a_backfill_of_it_alone_makes_it_green(
    here: Any, page: Page, ui: Callable[..., None]
) -> None:
    """Its OAuth client is refused until somebody mends the client; after that one click more is needed."""
    healthy = here.materialised()
    made = here.sandbox.create_calendar(account="eve@example.com", client_id=CLIENT, client_secret="before")
    here.sandbox.create_client(CLIENT, client_secret="after")
    calendar = here.follow(made)
    here.until(
        "the partition to fail", lambda: here.partitions()["assetPartitionStatuses"]["failedPartitions"] == [calendar]
    )
    assert here.materialised() == healthy

    ui("event_history", view="partitions", partition=calendar)
    seen(page.get_by_text("Failed (1)", exact=True))
    seen(page.get_by_text(f"Materialized ({len(healthy)})", exact=True))
    seen(page.get_by_text(re.compile(r"^Run \w+ failed, and did not materialize this asset\.$")))
    keep(page, "dagster-failed")

    page.get_by_role("button", name="View logs").click()
    page.get_by_placeholder("Filter…").fill("type:STEP_FAILURE")
    message = page.get_by_text(FAILED)
    expect(message.first).to_be_visible(timeout=PATIENCE)
    said = FAILED.search(message.first.inner_text())
    assert said is not None
    assert said[1] == calendar
    expect(page.get_by_text("RUN_FAILURE", exact=True)).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_role("cell", name="invalid_client", exact=True).first).to_be_visible(timeout=PATIENCE)
    keep(page, "dagster-why")
    page.get_by_role("button", name="Done").click()

    here.sandbox.create_client(CLIENT, client_secret="before")  # the client is mended at the provider
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_role("button", name="Confirm").click(timeout=PATIENCE)  # provider_events comes of the same step
    launch = page.get_by_role("button", name="Launch 1 run")
    expect(launch).to_be_enabled(timeout=PATIENCE)
    expect(page.get_by_text("1 partition", exact=True)).to_be_visible(timeout=PATIENCE)
    keep(page, "dagster-backfill")
    launch.click()
    seen(page.get_by_text("Failed (0)", exact=True))
    seen(page.get_by_text(f"Materialized ({len(healthy) + 1})", exact=True))
    ui("event_history", view="partitions", partition=calendar)
    seen(page.get_by_text("Materialized", exact=True))
    expect(page.get_by_text("dagster/partition_row_count").first).to_be_visible(timeout=PATIENCE)

    assert here.materialised() == {*healthy, calendar}
    rows = here.rows("SELECT outcome, error_code, run_id FROM sync_run WHERE calendar_id = %s ORDER BY id", calendar)
    assert {(row.outcome, row.error_code) for row in rows[:-1]} == {("operator", "invalid_client")}
    assert rows[-1][:2] == ("synced", None)
    mended = here.run(rows[-1].run_id)
    assert mended["tags"]["dagster/from_ui"] == "true"
    assert here.rows("SELECT calendar_id FROM sync_run WHERE run_id = %s", rows[-1].run_id) == [(calendar,)]
    here.until("its run to succeed, with its checks", lambda: here.run(rows[-1].run_id)["status"] == "SUCCESS")
