"""How often one may ask. Token buckets: a full bucket is a minute's worth, and it fills evenly.

The budgets for creating things are one per project, shared by all processes, since they stand in the database. Those of
keys, of addresses without a good key and of visitors of pages are in this process's memory: they keep one client from
taking a process for itself, and cost nothing. With several processes each grants them once
(docs/decisions/0022-rate-limits.md).
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from api import problems
from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import limits as shared
from calendar_pipeline.projects.model import Key

LOOK_UPS = 8
"""Hosts of webhooks looked up at once. Each keeps a thread for seconds where a name server hangs, and whoever owns the
name decides whether it does: the other threads are for everybody else."""

REMEMBERED = 10_000
"""Buckets kept in memory; the one longest unused is forgotten first."""


class Buckets:
    """Token buckets by name. Safe among threads."""

    def __init__(self, *, per_minute: int, timer: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._timer = timer
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take one from the bucket; 0, or the seconds until there is one."""
        each = 60 / self.per_minute
        now = self._timer()
        with self._lock:
            full_at = max(self._full_at.pop(name, now), now) + each
            wait = full_at - now - 60
            if wait > 1e-6:
                self._full_at[name] = full_at - each
                return wait
            self._full_at[name] = full_at
            if len(self._full_at) > REMEMBERED:
                self._full_at.popitem(last=False)
        return 0.0


class Limits:
    """The buckets of this process."""

    def __init__(self, *, keys_per_minute: int, strangers_per_minute: int, visitors_per_minute: int) -> None:
        self.keys = Buckets(per_minute=keys_per_minute)
        self.strangers = Buckets(per_minute=strangers_per_minute)
        self.visitors = Buckets(per_minute=visitors_per_minute)
        self._look_ups = threading.BoundedSemaphore(LOOK_UPS)

    @contextmanager
    def looking_up(self) -> Generator[None]:
        """Look up one host of somebody else's; raises a 429 problem while too many are."""
        if not self._look_ups.acquire(blocking=False):
            raise throttled(1)
        try:
            yield
        finally:
            self._look_ups.release()


def of_key(limits: Limits, key: Key) -> None:
    """Count a request of `key`; raises a 429 problem."""
    if wait := limits.keys.take(key.id):
        raise throttled(wait)


def of_stranger(limits: Limits, host: str) -> None:
    """Count a request without a good key; raises a 429 problem."""
    if wait := limits.strangers.take(neighbourhood(host)):
        raise throttled(wait)


def of_visitor(limits: Limits, host: str) -> None:
    """Count a request of a page; raises a 429 problem."""
    if wait := limits.visitors.take(neighbourhood(host)):
        raise throttled(wait)


def neighbourhood(host: str) -> str:
    """Whom an address is counted with: of IPv6 its /64, since every customer has one, and in it 2^64 addresses."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:  # as a socket for both families has it
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


def of_creation(db: Database, budget: str, project_id: str, *, per_minute: int) -> None:
    """Take from one of the project's budgets for creating things; raises a 429 problem."""
    with db.single() as conn:
        wait = shared.take(conn, f"{budget} {project_id}", per_minute=per_minute)
    if wait > timedelta():
        raise throttled(wait.total_seconds())


def throttled(seconds: float) -> problems.Problem:
    """Come back later."""
    whole = max(1, math.ceil(seconds))
    text = f"Request was throttled. Expected available in {whole} second{'' if whole == 1 else 's'}."
    return problems.detail(429, text, headers={"Retry-After": str(whole)})
