"""Notifications on their way to whoever watches: real HTTP POSTs, as unreliable as they are told to be.

Both providers send through here. What a notification says is theirs; lost, late, doubled, overtaken and repeated is
decided here. Nothing waits for an answer but the courier's own threads.
"""

import heapq
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
import urllib3

_SENDERS = 8
_TIMEOUT_S = 10.0
_FIRST_RETRY_S = 0.5
_MOST_TRIES = 6
_TIMES = 200
_SOME = 10
"""Answers after which an address may be called slow."""


class Weather(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How badly notifications travel. Chances are between 0 and 1, times in seconds of the real clock."""

    loss: float = 0.0
    duplicates: float = 0.0
    """Chance that a notification comes once more, and so on for the copy."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much later, differently for each: they overtake each other."""


CALM = Weather()


class Parcel(msgspec.Struct, frozen=True):
    """One notification."""

    url: str
    headers: dict[str, str]
    body: bytes = b""
    retried: Callable[[int], bool] = lambda status: status in (500, 502, 503, 504)
    """Whether it is sent again after this answer; 0 is no answer at all."""
    timeout_s: float = _TIMEOUT_S
    """How long an answer may take."""


class Tally(msgspec.Struct):
    """What became of all notifications so far."""

    sent: int
    """POSTs made, repetitions included."""
    lost: int
    answers: dict[str, int]
    """By status; ``0`` is no answer."""
    waiting: int
    """Still to be sent, or on their way."""


class Courier:
    """Delivers parcels from threads of its own, which start with the first one."""

    def __init__(self, *, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated
        self._due: list[tuple[float, int, Parcel, int]] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._numbers = self._busy = self._sent = self._lost = 0
        self._answers: Counter[int] = Counter()
        self._times: dict[str, deque[tuple[float, float]]] = {}
        """By address: when the last POSTs began and how long they took."""
        self._closed = False
        self._http = urllib3.PoolManager(maxsize=_SENDERS, retries=False, timeout=urllib3.Timeout(total=_TIMEOUT_S))

    def send(self, parcel: Parcel, weather: Weather = CALM) -> None:
        """Take a parcel; returns at once."""
        with self._changed:
            copies = 1
            while copies < 10 and self._random.random() < weather.duplicates:
                copies += 1
            for _ in range(copies):
                if self._random.random() < weather.loss:
                    self._lost += 1
                else:
                    self._queue(parcel, weather.delay_s + self._random.random() * weather.jitter_s, tries=0)

    def deliver(self, parcel: Parcel) -> int:
        """Send it now and wait for the answer's status; 0 if there is none."""
        began = time.monotonic()
        status = self.ask(parcel)[0]
        with self._changed:
            self._sent += 1
            self._answers[status] += 1
            times = self._times.setdefault(_address(parcel.url), deque(maxlen=_TIMES))
            times.append((began, time.monotonic() - began))
        return status

    def ask(self, parcel: Parcel) -> tuple[int, str, bytes]:
        """Send it now and have the answer: status, content type and body; status 0 if there is none."""
        try:
            answer = self._http.request(
                "POST",
                parcel.url,
                headers=parcel.headers,
                body=parcel.body,
                redirect=False,
                timeout=urllib3.Timeout(total=parcel.timeout_s),
            )
        except urllib3.exceptions.HTTPError:
            return 0, "", b""
        return answer.status, answer.headers.get("content-type", ""), answer.data

    def slow_share(self, url: str, *, over_s: float, within_s: float = 600.0) -> float:
        """Which share of the last answers from this address took longer than `over_s`; 0 until there are some."""
        with self._changed:
            since = time.monotonic() - within_s
            times = [took for began, took in self._times.get(_address(url), ()) if began >= since]
            return sum(took > over_s for took in times) / len(times) if len(times) >= _SOME else 0.0

    def lose(self) -> None:
        """Count one that is not even sent."""
        with self._changed:
            self._lost += 1

    def tally(self) -> Tally:
        """What became of them."""
        with self._changed:
            answers = {str(status): count for status, count in sorted(self._answers.items())}
            return Tally(self._sent, self._lost, answers, len(self._due) + self._busy)

    def settle(self, *, within_s: float = 30.0) -> bool:
        """Wait until nothing is on its way; False if something still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._busy, within_s)

    def close(self) -> None:
        """Drop what is left and end the threads."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_TIMEOUT_S + 1)
        self._http.clear()

    def _queue(self, parcel: Parcel, delay_s: float, *, tries: int) -> None:
        """The caller holds the condition's lock."""
        self._numbers += 1
        heapq.heappush(self._due, (time.monotonic() + delay_s, self._numbers, parcel, tries))
        if len(self._threads) < _SENDERS:
            thread = threading.Thread(target=self._run, name="sandbox-courier", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            parcel, tries = taken
            status = self.deliver(parcel)
            with self._changed:
                self._busy -= 1
                if parcel.retried(status) and tries + 1 < _MOST_TRIES and not self._closed:
                    self._queue(parcel, _FIRST_RETRY_S * 2**tries, tries=tries + 1)
                self._changed.notify_all()

    def _take(self) -> tuple[Parcel, int] | None:
        """The next parcel when it is due; None when closed."""
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, parcel, tries = heapq.heappop(self._due)
                    self._busy += 1
                    return parcel, tries
                self._changed.wait(wait)
            return None


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"
