"""Is this installation well? Each check says what it found, and what to do if that is not well."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from calendar_pipeline import wiring
from calendar_pipeline.db import migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.history import proof
from calendar_pipeline.projects import rotate
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import store as webhooks

Level = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result."""

    level: Level
    check: str
    text: str


def examine(settings: Settings) -> list[Finding]:
    """All checks, as far as they can be made."""
    findings: list[Finding] = []
    ring: KeyRing | None = None
    try:
        ring = keyfile.load(settings)
        findings.append(Finding("ok", "key ring", f"active {ring.active}, {len(ring.kids)} in all"))
    except SetupError as error:
        findings.append(Finding("broken", "key ring", str(error)))
    try:
        with wiring.database(settings, connections=2) as db:
            findings.extend(_database(settings, db, ring))
    except (SetupError, OperationalError) as error:
        reason = str(error) if isinstance(error, SetupError) else "not reachable: check DATABASE_URL and the server"
        findings.append(Finding("broken", "database", reason))
    return findings


def _database(settings: Settings, db: Database, ring: KeyRing | None) -> Iterator[Finding]:
    migrate.check(db)
    with db.single() as connection:
        version = connection.execute(sa.text("SHOW server_version")).scalar_one()
        yield Finding("ok", "database", f"PostgreSQL {version}, schema up to date")
        yield _clock(connection)
        yield _triggers(connection)
        holes = proof.holes(connection)
        yield (
            Finding("broken", "history numbers", "; ".join(holes))
            if holes
            else Finding("ok", "history numbers", "dense in every project")
        )
        odd = proof.replay_differences(connection)
        yield (
            Finding("broken", "history replay", f"{len(odd)} events differ, first {odd[0].event_id}: restore a backup")
            if odd
            else Finding("ok", "history replay", "gives the current events")
        )
        if ring is not None:
            yield _kids(connection, ring)
        yield from _calendars(settings, connection)
        yield from _webhooks(connection)


def _clock(connection: Connection) -> Finding:
    before = wiring.utc_now()
    theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    skew = max(abs(theirs - before), abs(theirs - wiring.utc_now()))
    if skew > timedelta(seconds=5):
        return Finding("warning", "clock", f"{skew.total_seconds():.0f} s apart from the database: check NTP")
    return Finding("ok", "clock", "agrees with the database")


def _triggers(connection: Connection) -> Finding:
    enabled = connection.execute(
        sa.text(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'event_history'::regclass AND NOT tgisinternal "
            "AND tgenabled <> 'D'"
        )
    ).scalar_one()
    if enabled < 2:
        return Finding("broken", "append-only", "a trigger of event_history is missing or disabled: enable it")
    return Finding("ok", "append-only", "the history refuses UPDATE, DELETE and TRUNCATE")


def _kids(connection: Connection, ring: KeyRing) -> Finding:
    """Names of the keys that stored secrets were sealed with, read from the values' first bytes."""
    used = rotate.by_key(connection)
    if lost := used.keys() - ring.kids:
        names = ", ".join(sorted(lost))
        return Finding("broken", "stored secrets", f"sealed with missing keys {names}: add them to the key ring")
    if old := sum(count for kid, count in used.items() if kid != ring.active):
        text = f"{old} under other keys than {ring.active}: run 'calendar-pipeline keys rotate' before you retire one"
        return Finding("warning", "stored secrets", text)
    return Finding("ok", "stored secrets", f"{sum(used.values())} sealed with the active key")


def _calendars(settings: Settings, connection: Connection) -> Iterator[Finding]:
    late = settings.sync_interval + timedelta(minutes=15)
    row = connection.execute(
        sa.text("""
            SELECT count(*) AS all,
                   count(*) FILTER (WHERE state = 'disconnected') AS disconnected,
                   count(*) FILTER (WHERE failures > 0) AS failing,
                   count(*) FILTER (WHERE state = 'connected' AND next_sync_at < :late) AS late,
                   COALESCE(sum(quarantined), 0) AS quarantined
            FROM calendar
        """),
        {"late": wiring.utc_now() - late},
    ).one()
    text = f"{row.all} followed, {row.disconnected} disconnected, {row.failing} failing"
    if row.late:
        yield Finding("warning", "calendars", f"{text}, {row.late} overdue: is the Dagster daemon running?")
    elif row.failing:
        yield Finding("warning", "calendars", f"{text}: see the failed partitions in the Dagster UI")
    else:
        yield Finding("ok", "calendars", text)
    if row.quarantined:
        yield Finding("warning", "quarantine", f"{row.quarantined} events set aside: see table quarantined_event")
    else:
        yield Finding("ok", "quarantine", "empty")


WEBHOOK_LATE = timedelta(minutes=15)
"""Older than this, the oldest pending delivery is worth a look."""


def _webhooks(connection: Connection) -> Iterator[Finding]:
    """What waits, held and throttled deliveries included; what was lost in a day; who was given up."""
    now = wiring.utc_now()
    state = webhooks.state(connection, since=now - timedelta(days=1))
    age = now - state.due_since if state.due_since else timedelta()
    text = f"{state.pending} wait, {state.held} of them held"
    if state.pending:
        text += f", the oldest for {age.total_seconds() / 60:.0f} min"
    if state.abandoned:
        more = f"{text}, {state.abandoned} left behind by dead workers: are the live path and 'webhook_sensor' running?"
        yield Finding("warning", "webhooks", more)
    elif age > WEBHOOK_LATE:
        yield Finding("warning", "webhooks", f"{text}: 'calendar-pipeline webhooks list' shows whose endpoints fail")
    else:
        yield Finding("ok", "webhooks", text)
    given_up = sum(count for reason, count in state.disabled.items() if reason != "operator")
    text = f"{state.endpoints} in all, {sum(state.disabled.values())} disabled, {state.failing} failing"
    if given_up:
        more = f"{text}, {given_up} given up: when they are back, 'calendar-pipeline webhooks enable'"
        yield Finding("warning", "webhook endpoints", more)
    else:
        yield Finding("ok", "webhook endpoints", text)
    text = f"{state.dead} given up and {state.rejected} not signable in the last day"
    if state.dead or state.rejected:
        more = f"{text}: 'calendar-pipeline webhooks recover' sends again what an endpoint missed"
        yield Finding("warning", "webhook losses", more)
    else:
        yield Finding("ok", "webhook losses", text)


def exit_code(findings: Sequence[Finding]) -> int:
    """0: well, 1: warnings, 2: something is broken."""
    levels = {finding.level for finding in findings}
    return 2 if "broken" in levels else 1 if "warning" in levels else 0


def to_json(findings: Sequence[Finding]) -> str:
    """A list of objects with level, check and text."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
