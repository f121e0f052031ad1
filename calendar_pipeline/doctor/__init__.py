"""Is this installation well? Each check says what it found, and what to do if that is not well."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sqlalchemy.exc import DBAPIError

from calendar_pipeline import wiring
from calendar_pipeline.db import connect, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.doctor import dagsters, machine, record, setup, work
from calendar_pipeline.doctor.finding import Clock, Finding, Level, found
from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings

__all__ = ["Finding", "Level", "examine", "exit_code", "to_json"]


def examine(settings: Settings, *, clock: Clock = wiring.utc_now) -> list[Finding]:
    """All checks, as far as they can be made."""
    findings: list[Finding] = []
    ring: KeyRing | None = None
    try:
        ring = keyfile.load(settings)
        findings.append(found("key ring", f"active {ring.active}, {len(ring.kids)} in all"))
    except SetupError as error:
        findings.append(found("key ring", "cannot be used", str(error), broken=True))
    findings += [*setup.examine(settings), *machine.examine(settings, clock)]
    try:
        with wiring.database(settings, connections=2) as db:
            findings += _database(settings, db, ring, clock)
    except SetupError as error:
        findings.append(found("database", "cannot be used", str(error), broken=True))
    except DBAPIError as error:
        remedy = "check DATABASE_URL, the server, and what its user may do"
        findings.append(found("database", f"cannot be used ({connect.said(error)})", remedy, broken=True))
    return findings


def _database(settings: Settings, db: Database, ring: KeyRing | None, clock: Clock) -> Iterator[Finding]:
    migrate.check(db)
    with db.single() as connection:
        yield from record.examine(connection, ring, clock)
        yield from work.examine(settings, connection, clock)
    yield from dagsters.examine(settings, db)


def exit_code(findings: Sequence[Finding]) -> int:
    """0: well, 1: warnings, 2: something is broken."""
    levels = {finding.level for finding in findings}
    return 2 if "broken" in levels else 1 if "warning" in levels else 0


def to_json(findings: Sequence[Finding]) -> str:
    """A list of objects with level, check, text and remedy."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
