"""What is forgotten, and when: bodies, then whole deliveries. What nobody fetched for as long is given up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from calendar_pipeline.db.connect import Database
from calendar_pipeline.webhooks import store

BATCH = 5_000
"""Rows in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How many of each."""

    given_up: int
    bodies: int
    deliveries: int


def forget(db: Database, *, now: datetime, bodies: timedelta, log: timedelta) -> Forgotten:
    """Forget what is older than `bodies` and `log`, in batches that each stand alone."""
    before = now - bodies
    given_up = taken = gone = 0
    while True:
        with db.single() as connection:
            counts = (
                store.expire(connection, before=before, now=now, limit=BATCH),
                store.forget_bodies(connection, before=before, limit=BATCH),
                store.forget(connection, before=now - log, limit=BATCH),
            )
        given_up, taken, gone = given_up + counts[0], taken + counts[1], gone + counts[2]
        if max(counts) < BATCH:
            return Forgotten(given_up=given_up, bodies=taken, deliveries=gone)
