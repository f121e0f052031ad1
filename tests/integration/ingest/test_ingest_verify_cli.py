"""`calendar-pipeline verify --all` as an operator runs it, over a Google and a Microsoft calendar."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from calendar_pipeline.cli import app

Verify = Callable[[], tuple[int, str]]

OF_THE_CLAIM = ["lease_token", "lease_until", "access_token", "access_token_expires_at", "account"]
"""Columns of `calendar` that hold no calendar data: whoever reads a calendar holds it and keeps its access token."""


@pytest.fixture
def verify(environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verify:
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() | environment.keys():
        if name in environment:
            monkeypatch.setenv(name, environment[name])
        else:
            monkeypatch.delenv(name)

    def verify() -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["verify", "--all"])
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout

    return verify


@pytest.fixture
def both(bench: Any) -> dict[str, Any]:
    """A calendar at each provider with three events and a series, synced, at the wall clock's time: the command's."""
    bench.clock.now = datetime.now(UTC).replace(microsecond=0)
    both = {"google": bench.cal, "microsoft": bench.follow(provider="microsoft")}
    for one in both.values():
        for day in (1, 2, 3):
            add(bench, one, f"Day {day}", days=day)
        add(bench, one, "Series", days=4, recurrence=["RRULE:FREQ=DAILY;COUNT=5"])
    assert [one.created for one in bench.sync_all(*both.values())] == [8, 8]
    return both


def add(bench: Any, one: Any, title: str, *, days: float, **more: Any) -> str:
    start = (bench.clock() + timedelta(days=days)).replace(tzinfo=None).isoformat()
    return str(bench.world.create_event(one.there, title=title, start=start, **more)["id"])


def stored(bench: Any) -> dict[str, list[Any]]:
    """All rows of all tables."""
    tables = bench.rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    return {
        one["relname"]: bench.rows(
            f"SELECT to_jsonb(t) - CAST(:claim AS text[]) AS row FROM {one['relname']} t ORDER BY t::text",
            claim=OF_THE_CLAIM if one["relname"] == "calendar" else [],
        )
        for one in tables
    }


def summary(said: str) -> tuple[int, int, int]:
    """Equal calendars, all, and events lost, as the last line tells them."""
    found = re.search(r"(\d+) of (\d+) calendars equal the provider's listing; (\d+) events lost\.", said)
    assert found, said
    return int(found[1]), int(found[2]), int(found[3])


def named(said: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Rows of the printed table: calendar and event → difference and whether it will be mended."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if line.startswith("│")]
    return {(calendar, event): (difference, mended) for calendar, event, difference, mended in rows}


LOST = "no: it was lost"


def test_calendars_that_equal_their_listings_are_said_to(bench: Any, both: Any, verify: Verify) -> None:
    before = stored(bench)
    code, said = verify()
    assert (code, summary(said), named(said)) == (0, (2, 2, 0), {})
    assert stored(bench) == before


@pytest.mark.parametrize("provider", ["google", "microsoft"])
@pytest.mark.parametrize("how", ["row gone", "change forgotten"])
def test_what_we_lost_is_named_and_not_written(bench: Any, both: Any, verify: Verify, provider: str, how: str) -> None:
    one = both[provider]
    [victim] = bench.rows(
        "SELECT provider_event_id AS id FROM calendar_event WHERE calendar_id = :one AND title = 'Day 2'", one=one.id
    )
    bench.execute("CREATE TABLE kept AS SELECT * FROM calendar_event WHERE provider_event_id = :id", id=victim["id"])
    bench.world.retitle_event(one.there, victim["id"], "Day two")
    assert [done.updated for done in bench.sync_all(one, regardless=True)] == [1]
    bench.execute("CREATE TABLE told AS SELECT * FROM calendar_event WHERE provider_event_id = :id", id=victim["id"])
    try:
        bench.execute("DELETE FROM calendar_event WHERE provider_event_id = :id", id=victim["id"])
        if how == "change forgotten":
            bench.execute("INSERT INTO calendar_event SELECT * FROM kept")
        before = stored(bench)
        code, said = verify()
        assert code == 1
        assert summary(said) == (1, 2, 1)
        difference = "created" if how == "row gone" else "updated"
        assert named(said) == {(one.id, victim["id"]): (difference, LOST)}
        assert stored(bench) == before
    finally:
        bench.execute("DELETE FROM calendar_event WHERE provider_event_id = :id", id=victim["id"])
        bench.execute("INSERT INTO calendar_event SELECT * FROM told")
        bench.execute("DROP TABLE kept, told")


def test_what_cannot_be_compared_is_not_taken_for_equal(bench: Any, both: Any, verify: Verify) -> None:
    """One that its user disconnected cannot be read and is left out."""
    bench.execute("UPDATE calendar SET held_from = NULL WHERE id = :id", id=both["google"].id)
    bench.execute("UPDATE calendar SET state = 'disconnected' WHERE id = :id", id=both["microsoft"].id)
    code, said = verify()
    assert (code, summary(said)) == (1, (0, 1, 0))
    assert "could not be compared: never_synced" in said
    assert "1 not compared" in said
    assert "1 left out: they are disconnected" in said


def test_what_is_only_news_is_no_loss(bench: Any, both: Any, verify: Verify) -> None:
    new = {(one.id, add(bench, one, "New", days=1.5)): ("created", "yes") for one in both.values()}
    before = stored(bench)
    code, said = verify()
    assert (code, summary(said), named(said)) == (0, (0, 2, 0), new)
    assert stored(bench) == before
