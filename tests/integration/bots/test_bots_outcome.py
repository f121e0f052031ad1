"""What analysts read of bots: the view `bot_outcome`, over rows that the stages themselves wrote."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from calendar_pipeline.bots import reports
from calendar_pipeline.bots.port import Down
from calendar_pipeline.export.relation import relation
from calendar_pipeline.export.write import export

MINUTE = timedelta(minutes=1)


def outcome(site: Any, event: str) -> list[Any]:
    with site.db.single() as conn:
        given = {"event": site.ours(event)}
        rows = conn.execute(sa.text("SELECT * FROM bot_outcome WHERE event_id = :event ORDER BY version"), given)
        return list(rows.mappings())


def test_each_version_has_what_it_led_to_and_what_became_of_the_bot(site: Any) -> None:
    event = site.event()
    site.sandbox.patch_event(site.provider_id, event, {"summary": "Before the bot"})
    site.sync()
    bot = site.bot(event)
    site.work()
    site.clock.pass_by(minutes=10)
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=1))
    site.sync()
    site.clock.pass_by(seconds=20)
    site.work()
    site.clock.pass_by(hours=2, minutes=50)
    site.work()
    site.clock.pass_by(minutes=1)
    with site.db.begin() as conn:
        report = reports.Report(
            key="k", event_type="joined_meeting", event_sub_type=None, event_metadata={},
            new_state="joined_recording", at=site.clock(),
        )  # fmt: skip
        assert reports.take(conn, bot, 1, report, now=site.clock())
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()

    made, moved, cancelled = outcome(site, event)
    assert [row["version"] for row in (made, moved, cancelled)] == [2, 3, 4], "none of before there was a bot"
    assert (made["decisions"], made["launched_at"], made["late_by"]) == (["made"], None, None)
    assert moved["decisions"] == ["moved", "staged", "sent", "launched", "reported"]
    assert moved["reasons"][0].startswith("event moved to")
    assert moved["reasons"][0].endswith("by version 3")
    assert moved["decided_after"] == timedelta(seconds=20)
    assert (moved["late_by"], moved["late_because"]) == (20 * timedelta(seconds=1), "us"), "we woke 20 s after its time"
    assert moved["joined_at"] == moved["launched_at"] + MINUTE
    assert (cancelled["change"], cancelled["decisions"]) == ("deleted", []), "it is in the meeting: it stays"
    assert {row["state"] for row in (made, moved, cancelled)} == {"joined_recording"}
    assert {row["bot_id"] for row in (made, moved, cancelled)} == {bot}


def test_a_late_bot_says_whose_doing_it_was(site: Any) -> None:
    def late_because(event: str) -> tuple[str | None, timedelta]:
        [row] = [row for row in outcome(site, event) if row["launched_at"]]
        return row["late_because"], row["late_by"]

    in_time, made_late = site.event(), site.event()
    site.bot(in_time)
    site.clock.pass_by(hours=2)
    site.work()
    assert late_because(in_time) == (None, timedelta())
    site.clock.pass_by(minutes=3)
    site.bot(made_late)
    site.work()
    assert late_because(made_late) == ("made_late", 3 * MINUTE)

    later = site.event(hours=1)
    site.bot(later)
    site.work()
    site.clock.pass_by(hours=1)
    site.runner.answer = lambda _: Down("timeout")
    site.work()
    site.runner.answer = lambda _: None
    site.clock.pass_by(minutes=1)
    site.work()
    assert late_because(later) == ("runner", MINUTE)

    moved = site.event(hours=2)
    site.bot(moved)
    site.work()
    site.clock.pass_by(minutes=30)
    site.sandbox.set_clock(site.clock(), frozen=True)
    site.sandbox.move_event(site.provider_id, moved, by=timedelta(minutes=-100))
    site.settle()
    assert late_because(moved) == ("changed_late", 10 * MINUTE), "moved into the past"

    unheard = site.event(hours=2)
    site.bot(unheard)
    site.work()
    site.sandbox.move_event(site.provider_id, unheard, by=timedelta(minutes=-90))
    site.clock.pass_by(minutes=40)
    site.settle()
    assert late_because(unheard) == ("told_late", 10 * MINUTE), "moved in time, and read late"


def test_what_was_taken_away_and_what_failed_is_told(site: Any) -> None:
    gone, failed = site.event(), site.event(hours=1)
    site.bot(gone)
    site.bot(failed)
    site.sandbox.cancel_event(site.provider_id, gone)
    site.settle()
    site.runner.answer = lambda _: Down("timeout")
    for _ in range(20):
        site.clock.pass_by(minutes=10)
        site.work()
    [_, last] = outcome(site, gone)
    assert (last["decisions"], last["gone_because"]) == (["cancelled"], "event_deleted")
    [row] = outcome(site, failed)
    assert (row["state"], row["failure"], row["launched_at"]) == ("fatal_error", "bot_not_launched", None)
    assert row["decisions"][-1] == "given up"


def test_an_event_without_bots_and_a_bot_without_event_have_no_outcome(site: Any) -> None:
    event = site.event()
    site.lone_bot(None)
    site.work()
    with site.db.single() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM bot_outcome")).scalar_one() == 0
    assert outcome(site, event) == []


def test_outcomes_are_exported_and_again_when_one_changes(site: Any, tmp_path: Path) -> None:
    bot = site.bot(site.event())
    site.work()
    table = relation("bot_outcome")
    assert export(site.db, table, str(tmp_path)).written == 1
    assert export(site.db, table, str(tmp_path)).unchanged == 1
    site.clock.pass_by(hours=2)
    site.work()
    assert export(site.db, table, str(tmp_path)).written == 1
    [row] = pd.read_parquet(tmp_path / "bot_outcome").to_dict("records")
    assert (row["bot_id"], list(row["decisions"]), row["late_by"]) == (bot, ["made", "staged", "sent", "launched"], 0.0)


def test_one_events_outcome_is_read_by_index(site: Any) -> None:
    """Neither the record of all bots nor the whole history is read."""
    site.bot(site.event())
    site.work()
    with site.db.single() as conn:
        conn.exec_driver_sql("SET enable_seqscan = off")
        plan = conn.execute(sa.text("EXPLAIN (FORMAT JSON) SELECT * FROM bot_outcome WHERE event_id = 'evt_x'"))
        nodes = list(_nodes(plan.scalar_one()[0]["Plan"]))
    read = {node["Relation Name"]: node for node in nodes if "Relation Name" in node}
    assert not [name for name, node in read.items() if node["Node Type"] == "Seq Scan"]
    assert any(node.get("Index Name") == "ix_bot_event_event" for node in nodes)


def _nodes(plan: Any) -> Any:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
