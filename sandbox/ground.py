"""What all operations stand on: the state, its lock, the clock, and what was asked."""

import functools
import secrets
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Concatenate, ParamSpec, TypeVar

from sandbox.errors import Missing, Unusable
from sandbox.google.switches import Switches as GoogleSwitches
from sandbox.microsoft import lag
from sandbox.microsoft.switches import Switches as MicrosoftSwitches
from sandbox.model import Calendar, State
from sandbox.push import Courier
from sandbox.replies import Arrived, Seen, Stats
from sandbox.switches import with_changes

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G", bound="Ground")
_LOG = 1000
_CHANGING = ("token", "revoke", "events.watch", "channels.stop", "subscriptions")
"""Endpoints whose requests change the state, by how they begin."""


def locked(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
    """Run under the world's lock, and tell whoever watches what changed."""

    @functools.wraps(method)
    def inner(self: G, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            self.depth += 1
            try:
                return method(self, *args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.tell()

    return inner


class Ground:
    """State, lock, clock and log. All methods may be called from any thread."""

    def __init__(self, state: State | None = None, *, clock: Callable[[], datetime] | None = None) -> None:
        self.state = state or State(epoch=secrets.token_hex(8))
        self.lock = RLock()
        self.depth = 0
        """Public methods entered and not yet left by the lock's holder."""
        self.base_url = ""
        self.courier = Courier()
        self.told = 0
        """As of which of `changes` watchers were told."""
        self.log: deque[Seen] = deque(maxlen=_LOG)
        self.changes = 0
        """Raised by everything that changes `state`: tells a snapshot whether there is anything to write."""
        self.in_flight: Counter[tuple[str, str]] = Counter()
        """Graph requests under way, by application and mailbox."""
        self.webhooks_by_name: dict[str, deque[Arrived]] = {}
        self.webhooks_taken = 0
        self._clock = clock or (lambda: datetime.now(UTC))
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    # -- clock ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The sandbox's time."""
        return self.state.frozen_at or self._clock() + timedelta(seconds=self.state.clock_offset_s)

    @locked
    def set_clock(self, at: datetime | None = None, *, frozen: bool = False) -> datetime:
        """Go to `at` (None: back to real time), and tick on from there or stand still."""
        self.changes += 1
        if at is not None and at.tzinfo is None:
            message = "The clock needs a time with an offset, such as 2026-11-24T15:00:00Z."
            raise Unusable(message)
        self.state.clock_offset_s = 0.0 if at is None else (at - self._clock()).total_seconds()
        self.state.frozen_at = (at or self.now()) if frozen else None
        return self.now()

    @locked
    def advance(self, by: timedelta) -> datetime:
        """Let time pass."""
        self.changes += 1
        if self.state.frozen_at is not None:
            self.state.frozen_at += by
        else:
            self.state.clock_offset_s += by.total_seconds()
        return self.now()

    # -- what was asked ------------------------------------------------------------------------------------

    def saw(self, seen: Seen) -> None:
        """Note a request. The caller holds the lock."""
        self.log.append(seen)
        self._requests[seen.endpoint] += 1
        self._bytes[seen.endpoint] += seen.bytes
        if seen.endpoint.startswith(_CHANGING):
            self.changes += 1

    @locked
    def stats(self) -> Stats:
        """Requests and bytes sent by endpoint since the last reset."""
        return Stats(dict(self._requests), dict(self._bytes))

    @locked
    def reset_stats(self) -> None:
        """Start counting anew, and forget the request log."""
        self._requests.clear()
        self._bytes.clear()
        self.log.clear()

    @locked
    def requests(self, last: int = 100) -> list[Seen]:
        """The last requests, oldest first."""
        return list(self.log)[-last:]

    def tell(self) -> None:
        """Send off what watchers are to hear: `Pushes` does. The caller holds the lock."""

    # -- inside --------------------------------------------------------------------------------------------

    def calendar(self, calendar_id: str) -> Calendar:
        """The calendar of this id, or the only or first one of this account; raises `Missing`.

        The caller holds the lock.
        """
        if (found := self.state.calendars.get(calendar_id)) is not None:
            return found
        own = [one for one in self.state.calendars.values() if one.account == calendar_id and one.primary]
        if len(own) == 1:
            return own[0]
        some = ", ".join(list(self.state.calendars)[:5]) or "none"
        message = f"There is no calendar {calendar_id!r}; there are: {some}."
        raise Missing(message)

    def google_switches(self, calendar_id: str) -> GoogleSwitches:
        """What holds for one calendar. The caller holds the lock."""
        own = self.state.calendar_switches.get(calendar_id)
        return self.state.switches if not own else with_changes(self.state.switches, own)

    def microsoft_switches(self, calendar_id: str) -> MicrosoftSwitches:
        """What holds for one calendar. The caller holds the lock."""
        own = self.state.calendar_switches.get(calendar_id)
        return self.state.microsoft_switches if not own else with_changes(self.state.microsoft_switches, own)

    def _changed(self, calendar_id: str) -> Calendar:
        self.changes += 1
        calendar = self.calendar(calendar_id)
        if calendar.provider == "microsoft":
            lag.remember(calendar, self.microsoft_switches(calendar.id), self.now())
        return calendar
