"""A worker that delivers webhooks in a process of its own, and may kill itself at a named point.

Usage: python hooks_worker.py DATABASE_URL KEYS LEASE_SECONDS POINT, with POINT "-" for a worker that lives on.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.webhooks import run
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.client import Limits


def main(url: str, keys: str, lease: str, point: str) -> None:
    """Deliver until killed."""

    def die(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Database(url, connections=4) as db:
        length = timedelta(seconds=float(lease))
        dispatch = run.Dispatch(
            db=db,
            keyring=KeyRing.parse(keys),
            policy=Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None),
            clock=lambda: datetime.now(UTC),
            limits=Limits(total=length / 2, connect=length / 2),
            lease=length,
            slots=32,
            crash=die,
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        run.deliver(dispatch, linger=timedelta(hours=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
