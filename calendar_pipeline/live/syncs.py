"""Syncs that were asked for, as they come: each calendar in a thread, so that a slow provider holds up one."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from calendar_pipeline.db.connect import AWAY, is_away, new_lease
from calendar_pipeline.ingest import run, store
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.live.stage import PAUSE, Stage

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
"""A live run that dies holds up its calendars for so long; one that lives renews."""
RENEW = 4.0


class Syncs:
    """Claims calendars and syncs them, up to `threads` at once. For one loop at a time."""

    def __init__(self, ingest: Ingest, *, threads: int, every: float, done: Callable[[Outcome], None]) -> None:
        self._ingest = replace(ingest, lease=LEASE, leaves_red=True)
        self._threads = threads
        self._every = every
        self._done = done
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="live-sync")
        self._under_way: dict[Future[Outcome], Claim] = {}
        self._to_release: list[Claim] = []
        self._news = threading.Event()
        self._renewed = time.monotonic()
        self.bugs: list[str] = []
        """Calendars whose sync ended in a bug, with its kind."""

    @property
    def stage(self) -> Stage:
        """The loop."""
        return Stage("syncs", self._loop)

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._settle()
            started = self._start()
            if not started:
                self._news.wait(self._every)
            self._news.clear()
        self._drain()

    def _start(self) -> int:
        """Claim as many calendars as there are threads free, and start them."""
        room = self._threads - len(self._under_way)
        if room <= 0:
            return 0
        with self._ingest.db.single() as connection:
            claims = store.claim_asked(
                connection, limit=room, lease=new_lease(), length=LEASE, now=self._ingest.clock()
            )
        for claimed in claims:
            future = self._pool.submit(run.sync_calendar, self._ingest, claimed)
            self._under_way[future] = claimed
            future.add_done_callback(lambda _: self._news.set())
        return len(claims)

    def _settle(self) -> None:
        """Hand on what is done, hold on to what is not, and give back what could not be done."""
        for future in [future for future in self._under_way if future.done()]:
            claimed = self._under_way.pop(future)
            error = future.exception()
            if error is None:
                self._done(future.result())
            elif is_away(error):
                self._to_release.append(claimed)
            else:  # its lease is left to run out, so that it is not tried again at once
                self.bugs.append(f"{claimed.id}: {type(error).__name__}")
                log.error("%s: the sync ended in a bug", claimed.id, exc_info=error)
        while self._to_release:
            with self._ingest.db.single() as connection:
                store.release(connection, self._to_release[-1])
            self._to_release.pop()
        if time.monotonic() - self._renewed > RENEW and self._under_way:
            with self._ingest.db.single() as connection:
                for claimed in self._under_way.values():
                    store.renew(connection, [claimed.id], lease=claimed.lease_token, length=LEASE)
            self._renewed = time.monotonic()

    def _drain(self) -> None:
        """Finish what is under way."""
        while self._under_way or self._to_release:
            try:
                self._settle()
            except AWAY:
                time.sleep(PAUSE)
            if self._under_way:
                self._news.wait(self._every)
                self._news.clear()
