"""A worker in a process of its own, wired by the settings of its environment, which syncs when it is told to.

Usage: python race_worker.py CALENDAR. Each line of its input is a round: the time that it is, and the moment of the
monotonic clock, which all processes of a machine share, at which to begin. Answers each with the outcomes' statuses,
and when it began and ended.
"""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

from calendar_pipeline import wiring
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.settings import Settings

SPIN_S = 0.002
"""A sleep may end late by this much; what is left of the wait is spent awake."""


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic() - SPIN_S))
    while time.monotonic() < moment:
        pass


def main(calendar: str) -> None:
    """Take part in each round."""
    settings = Settings.load()
    now = datetime.now(UTC)
    with wiring.database(settings, connections=2) as db:
        ingest = wiring.ingest(settings, db, clock=lambda: now)
        ingest = replace(ingest, guard=Guard(per_account=1e9))  # weeks pass here in seconds
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            at, moment = line.split()
            now = datetime.fromisoformat(at)
            wait_until(float(moment))
            began = time.monotonic()
            statuses = ",".join(outcome.status for outcome in sync_many(ingest, [calendar], threads=1))
            sys.stdout.write(f"{statuses or '-'} {began} {time.monotonic()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
