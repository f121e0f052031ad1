"""One sync of one calendar in a process of its own, which kills itself at a named point.

Usage: python crash_worker.py DATABASE_URL SANDBOX_URL KEYS CALENDAR NOW POINT MODE, with POINT "-" for a worker that
lives and MODE "full" for one that lists anew. Prints the outcome's status.
"""

import os
import signal
import sys
from dataclasses import replace
from datetime import datetime, timedelta

from calendar_pipeline.db.connect import Database
from calendar_pipeline.ingest import run
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing


def main(url: str, sandbox: str, keys: str, calendar: str, at: str, point: str, mode: str) -> None:
    """Sync, or die on the way."""
    now = datetime.fromisoformat(at)

    def die(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Database(url, connections=2) as db:
        google = GoogleCalendar(
            Transport(timeout=10),
            api_base_url=f"{sandbox}/google",
            token_url=f"{sandbox}/google/token",
            clock=lambda: now,
        )
        ingest = Ingest(
            db=db,
            providers={"google": google},
            keyring=KeyRing.parse(keys),
            clock=lambda: now,
            interval=timedelta(minutes=30),
            buffer=timedelta(days=8),
            lease=timedelta(seconds=0.5),
        )
        ingest = replace(ingest, crash=die)
        outcomes = run.sync_many(ingest, [calendar], threads=1, regardless=True, full=mode == "full")
        sys.stdout.write(" ".join(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
