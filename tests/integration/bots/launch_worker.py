"""Lets bots work once in a process of its own, which kills itself at a named point.

Usage: python launch_worker.py DATABASE_URL ATTENDEE_URL KEYS NOW POINT, with POINT "-" for a worker that lives.
"""

import os
import signal
import sys
from datetime import datetime, timedelta

from calendar_pipeline.bots import run
from calendar_pipeline.bots.runners.attendee import AttendeeRunner
from calendar_pipeline.db.connect import Database
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing


def main(url: str, attendee: str, keys: str, at: str, point: str) -> None:
    """Work until nothing is due, or die on the way."""
    now = datetime.fromisoformat(at)

    def die(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Database(url, connections=2) as db:
        bots = run.Bots(
            db=db,
            keyring=KeyRing.parse(keys),
            runner=AttendeeRunner(Transport(timeout=5), base_url=attendee, api_key="k"),
            clock=lambda: now,
            lease=timedelta(seconds=0.5),
            crash=die,
        )
        while run.work(bots).total:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
