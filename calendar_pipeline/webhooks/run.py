"""Outbox → endpoints: claim what is due, send many at a time, record what came of it.

An endpoint has its own lane: so many requests at once and no more, and what it makes wait waits there. One that does
not answer gets one request at a time, then only a probe now and then; and those that do not answer share half of all
slots at most, so that the others always find one.

Everything that is decided stands in the database. A worker that dies leaves leases behind, and when they have run out
somebody sends the same deliveries again, under the same ids.
"""

import asyncio
import base64
import logging
import random
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from calendar_pipeline.db.connect import Database, new_lease
from calendar_pipeline.errors import CredentialUnreadable, SetupError
from calendar_pipeline.projects.store import secret_place as project_place
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.webhooks import sign, store
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.client import Client, Limits, Resolve
from calendar_pipeline.webhooks.plan import Answer
from calendar_pipeline.webhooks.record import Result, record
from calendar_pipeline.webhooks.store import Claim
from calendar_pipeline.webhooks.subscriptions import secret_place as own_place

logger = logging.getLogger(__name__)

SLOTS = 256
"""Requests at once in one worker."""

POLL = 0.25
"""Seconds between looks at the outbox while nothing else happens."""

GATHER = 0.01
"""Seconds during which answers are gathered, to be recorded together."""

LOST_AT_MOST = 50
"""A delivery of whose claims nothing was heard so many times in a row kills its workers: it is given up."""

NO_SECRET_WAIT = timedelta(minutes=5)

USER_AGENT = "Attendee-Webhook/1.0"
"""As the API that ours is compatible with calls itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What a worker needs."""

    db: Database
    keyring: KeyRing
    policy: Policy
    clock: Callable[[], datetime]
    limits: Limits = field(default_factory=Limits)
    lease: timedelta = timedelta(seconds=60)
    slots: int = SLOTS
    rng: random.Random = field(default_factory=random.SystemRandom)
    tls: ssl.SSLContext | None = None
    resolve: Resolve | None = None
    crash: Callable[[str], None] = field(default=lambda _point: None)
    """Called at each named step; tests kill the process there."""

    def __post_init__(self) -> None:
        if self.lease < 2 * self.limits.total:
            raise SetupError("A webhook's lease must be twice its deadline or longer: raise WEBHOOK_LEASE_SECONDS.")


@dataclass(slots=True)
class Done:
    """What a worker did."""

    claimed: int = 0
    delivered: int = 0
    failed: int = 0
    dead: int = 0
    released: int = 0
    disabled: int = 0

    @property
    def attempts(self) -> int:
        """Requests made."""
        return self.delivered + self.failed


def deliver(
    dispatch: Dispatch,
    *,
    limit: int | None = None,
    linger: timedelta = timedelta(),
    stop: threading.Event | None = None,
) -> Done:
    """Deliver until nothing is due and nothing has become due for as long as `linger`; returns what was done.

    With `limit`, claim no more than so many. What becomes due while a slow endpoint is waited for is delivered
    meanwhile. Set `stop` to end early: what is under way is finished, the rest is given back.
    """
    return asyncio.run(_deliver(dispatch, limit=limit, linger=linger, stop=stop or threading.Event()))


async def _deliver(dispatch: Dispatch, *, limit: int | None, linger: timedelta, stop: threading.Event) -> Done:
    client = Client(dispatch.policy, dispatch.limits, dispatch.tls, dispatch.resolve, dispatch.clock)
    async with client:
        return await _Worker(dispatch, client).work(limit=limit, linger=linger.total_seconds(), stop=stop)


@dataclass(slots=True)
class _Lane:
    """One endpoint's deliveries in this worker."""

    concurrency: int
    silent: bool
    waiting: deque[Claim] = field(default_factory=deque[Claim])
    active: int = 0


class _Worker:
    """One drain of the outbox, in one event loop."""

    def __init__(self, dispatch: Dispatch, client: Client) -> None:
        self._dispatch = dispatch
        self._client = client
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._expires: dict[uuid.UUID, float] = {}
        self._results: list[Result] = []
        self._back: list[Claim] = []
        self._unsigned: list[Claim] = []
        self._recording = False
        self._ending = False
        self._news = asyncio.Event()
        """Something is to be recorded."""
        self._wake = asyncio.Event()
        """There may be something to claim, or nothing left to do."""
        self._active = 0
        self._silent = 0
        self._waiting = 0
        self._done = Done()

    async def work(self, *, limit: int | None, linger: float, stop: threading.Event) -> Done:
        """Claim, send and record until there is nothing left to do."""
        recorder = asyncio.create_task(self._record_all())
        busy_at = time.monotonic()
        try:
            while not stop.is_set():
                room = self._dispatch.slots - self._active - self._waiting
                if limit is not None:
                    room = min(room, limit - self._done.claimed)
                busy = self._busy  # what is recorded while we look may make more due than we see
                claimed = await self._claim(room) if room > 0 else 0
                spent = limit is not None and self._done.claimed >= limit
                if busy or self._busy or claimed:
                    busy_at = time.monotonic()
                elif spent or time.monotonic() - busy_at >= linger:
                    break
                if not claimed:
                    await self._pause(POLL)
                elif self._active + self._waiting > self._dispatch.slots // 2:
                    await self._pause(GATHER)
                if recorder.done():
                    break
        finally:
            await self._finish(recorder)
        return self._done

    @property
    def _busy(self) -> bool:
        return bool(self._tasks or self._waiting or self._results or self._back or self._unsigned or self._recording)

    async def _pause(self, seconds: float) -> None:
        """Wait a little, or until an answer has come."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
            await asyncio.sleep(GATHER if self._busy else 0)
        except TimeoutError:
            pass
        self._wake.clear()

    async def _claim(self, room: int) -> int:
        lease, now = new_lease(), time.monotonic()
        claims = await asyncio.to_thread(self._claim_some, lease, room)
        if claims:
            self._expires = {key: at for key, at in self._expires.items() if at > now}
            self._expires[lease] = now + self._dispatch.lease.total_seconds()
        self._done.claimed += len(claims)
        for one in claims:
            lane = self._lanes.setdefault(one.subscription_id, _Lane(one.concurrency, one.silences > 0))
            lane.concurrency, lane.silent = one.concurrency, lane.silent or one.silences > 0
            lane.waiting.append(one)
            self._waiting += 1
        self._start_waiting()
        return len(claims)

    def _claim_some(self, lease: uuid.UUID, room: int) -> Sequence[Claim]:
        with self._dispatch.db.single() as connection:
            claims = store.claim(
                connection, lease=lease, length=self._dispatch.lease, limit=room, now=self._dispatch.clock()
            )
        if claims:
            self._dispatch.crash("claimed")
        return claims

    def _start_waiting(self) -> None:
        """Start what may start. Lanes take turns."""
        for subscription, lane in list(self._lanes.items()):
            while lane.waiting and self._may_start(lane):
                claimed = lane.waiting.popleft()
                self._waiting -= 1
                if not self._has_time(claimed):
                    self._back.append(claimed)
                    self._news.set()
                    continue
                lane.active += 1
                self._active += 1
                self._silent += lane.silent
                task = asyncio.create_task(self._send(claimed, lane, silent=lane.silent))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if not lane.waiting and not lane.active:
                del self._lanes[subscription]

    def _may_start(self, lane: _Lane) -> bool:
        if self._active >= self._dispatch.slots:
            return False
        if lane.silent:
            return lane.active < 1 and self._silent < max(1, self._dispatch.slots // 2)
        return lane.active < lane.concurrency

    def _has_time(self, claimed: Claim) -> bool:
        """Whether an attempt that takes as long as it may ends before the lease does."""
        left = self._expires.get(claimed.lease_token, 0.0) - time.monotonic()
        return left > self._dispatch.limits.total.total_seconds()

    async def _send(self, claimed: Claim, lane: _Lane, *, silent: bool) -> None:
        started_at, began = self._dispatch.clock(), time.monotonic()
        try:
            answer = await self._attempt(claimed, started_at)
        finally:
            lane.active -= 1
            self._active -= 1
            self._silent -= silent
        if answer is None:
            self._unsigned.append(claimed)
        else:
            self._results.append(Result(claimed, answer, started_at, time.monotonic() - began))
            lane.silent = answer.is_silence
            if answer.is_silence or answer.is_gone or answer.retry_after is not None:
                self._give_back(lane)  # to be claimed anew when the endpoint may be asked again
        self._news.set()
        self._wake.set()
        self._start_waiting()

    def _give_back(self, lane: _Lane) -> None:
        self._back.extend(lane.waiting)
        self._waiting -= len(lane.waiting)
        lane.waiting.clear()

    async def _attempt(self, claimed: Claim, now: datetime) -> Answer | None:
        """One request; None if we cannot sign it."""
        if claimed.lost > LOST_AT_MOST:
            return Answer(error="worker_lost")
        try:
            found = secrets(self._dispatch.keyring, claimed, now=now)
        except CredentialUnreadable:
            found = ()
        if not found:
            logger.error(
                "nothing to sign with for endpoint %s: see 'calendar-pipeline doctor'", claimed.subscription_id
            )
            return None
        answer = await self._client.send(claimed.url, headers(claimed.id, claimed.body, found, now=now), claimed.body)
        self._dispatch.crash("sent")
        return answer

    async def _record_all(self) -> None:
        """Record what comes, until told to end."""
        while not (self._ending and not self._results and not self._back and not self._unsigned):
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(0 if self._ending else GATHER)
            results, self._results = self._results, []
            back, self._back = self._back, []
            unsigned, self._unsigned = self._unsigned, []
            if results or back or unsigned:
                self._recording = True
                await asyncio.to_thread(self._write, results, back, unsigned)
                self._recording = False
                self._wake.set()

    async def _finish(self, recorder: "asyncio.Task[None]") -> None:
        """Give back what was not begun, wait for what was, and write it all down."""
        for lane in self._lanes.values():
            self._give_back(lane)
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        self._ending = True
        self._news.set()
        await recorder

    def _write(self, results: Sequence[Result], back: Sequence[Claim], unsigned: Sequence[Claim]) -> None:
        """In one transaction: what was answered, and what goes back."""
        dispatch, done = self._dispatch, self._done
        now = dispatch.clock()
        with dispatch.db.begin() as connection:
            recorded = record(connection, results, now=now, rng=dispatch.rng)
            if back:
                store.release(connection, back, not_before=now)
            if unsigned:
                store.release(connection, unsigned, not_before=now + NO_SECRET_WAIT, why="no_secret")
            dispatch.crash("recorded")
        done.released += len(back) + len(unsigned)
        done.delivered += recorded.delivered
        done.failed += recorded.failed
        done.dead += recorded.dead
        done.disabled += recorded.disabled


def headers(message: str, content: bytes, keys: Sequence[bytes], *, now: datetime) -> Mapping[str, str]:
    """Both families of headers over the same bytes; `keys` newest first.

    The one header holds one signature: while a secret is being replaced that is the former one's.
    """
    timestamp = int(now.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "X-Webhook-Signature": sign.attendee(keys[-1], content),
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign.standard(keys, message=message, timestamp=timestamp, body=content),
    }


def secrets(keyring: KeyRing, claimed: Claim, *, now: datetime) -> Sequence[bytes]:
    """What signs a delivery now, newest first; raises CredentialUnreadable."""
    if claimed.secret is None:
        texts = [
            keyring.open(sealed, project_place(row, claimed.project_id))
            for row, sealed in zip(claimed.project_secret_ids, claimed.project_secrets, strict=True)
        ]
    else:
        texts = [keyring.open(claimed.secret, own_place("secret", claimed.subscription_id, claimed.project_id))]
        if claimed.former_secret is not None and claimed.former_secret_until and claimed.former_secret_until > now:
            place = own_place("former_secret", claimed.subscription_id, claimed.project_id)
            texts.append(keyring.open(claimed.former_secret, place))
    return [base64.b64decode(text) for text in texts]
