"""Keeps up with Calendar Pipeline: one thread that reads what changed when a webhook says so, and now and then anyway.

A webhook carries no events: it says that there is something to read. Reading starts where the last one ended, with
``updated_after``, and follows ``next`` to the last page.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from examples.notetaker.pipeline import Pipeline, Refused
from examples.notetaker.store import Store

log = logging.getLogger(__name__)

SOON = 1.0
"""Seconds between looks at a calendar that is on its way back, or whose bots are about to follow a moved event."""


class Follower(threading.Thread):
    """Does all reading, one calendar after the other. `changed` is called with a user's id when there is news."""

    def __init__(
        self, store: Store, pipeline: Pipeline, *, poll_seconds: float, changed: Callable[[str], None]
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._store = store
        self._pipeline = pipeline
        self._poll_seconds = poll_seconds
        self._changed = changed
        self._asked: queue.SimpleQueue[tuple[str, bool] | None] = queue.SimpleQueue()
        self._ending = threading.Event()

    def ask(self, calendar_id: str, *, everything: bool = False) -> None:
        """Read this calendar soon: what changed, or all that is to come."""
        self._asked.put((calendar_id, everything))

    def webhook(self, body: Mapping[str, Any]) -> None:
        """Act on a webhook that was verified and not seen before."""
        match body.get("trigger"):
            case "calendar.events_update":
                self.ask(str(body["calendar_id"]))
            case "calendar.state_change":
                self.ask(str(body["calendar_id"]), everything=True)
            case "bot.state_change":
                for calendar in self._store.calendars():
                    self.ask(calendar["id"], everything=True)
            case _:
                pass

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        self._asked.put(None)
        self.join(30)

    def run(self) -> None:
        """Until stopped."""
        next_poll = time.monotonic()
        while not self._ending.is_set():
            try:
                asked = self._asked.get(timeout=max(0.0, min(SOON, next_poll - time.monotonic())))
            except queue.Empty:
                due = time.monotonic() >= next_poll
                waiting = self._store.waiting_for_bots(now=datetime.now(UTC))
                for calendar in self._store.calendars():
                    is_new = calendar["state"] != "connected" or calendar["synced_until"] is None
                    if due or is_new or calendar["id"] in waiting:
                        self._read(calendar["id"], everything=True)
                if due:
                    next_poll = time.monotonic() + self._poll_seconds
                continue
            if asked is not None:
                self._read(*asked)

    def _read(self, calendar_id: str, everything: bool) -> None:
        try:
            self.read(calendar_id, everything=everything)
        except (httpx.HTTPError, Refused) as error:
            log.warning("%s could not be read (%s); the next round tries again", calendar_id, type(error).__name__)

    def read(self, calendar_id: str, *, everything: bool = False) -> None:
        """One calendar: its state, and its events."""
        known = self._store.calendar(calendar_id)
        if known is None:
            return
        calendar = self._pipeline.calendar(calendar_id)
        if calendar is None:
            self._store.forget(calendar_id)
            self._changed(known["user_id"])
            return
        self._store.set_state(calendar_id, calendar["state"])
        before = self._picture(known["user_id"])
        changes = {"calendar_id": calendar_id, "ordering": "updated_at"}
        if known["synced_until"] is not None:
            changes["updated_after"] = known["synced_until"]
        events = list(self._pipeline.events(**changes))
        until = events[-1]["updated_at"] if events else known["synced_until"]
        self._store.keep_events(calendar_id, events, until=until)
        if everything and known["synced_until"] is not None:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            coming = list(self._pipeline.events(calendar_id=calendar_id, start_time_gte=now))
            self._store.keep_events(calendar_id, coming, until=None)
        if self._picture(known["user_id"]) != before or calendar["state"] != known["state"]:
            self._changed(known["user_id"])

    def _picture(self, user_id: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._store.upcoming(user_id, now=datetime.now(UTC))]
