"""One pooled, thread-safe HTTP transport for a process.

It refuses redirects, takes no proxy from the environment, and turns every network failure into TryLater.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from calendar_pipeline.errors import TryLater


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    reason: str


class Transport:
    """A connection pool. Safe to share among threads."""

    def __init__(self, *, timeout: float, connections: int = 64, max_body: int = 64 * 1024 * 1024) -> None:
        self._pool = urllib3.PoolManager(
            num_pools=16,
            maxsize=connections,
            block=False,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            retries=False,
            ssl_context=ssl.create_default_context(),
        )
        self._max_body = max_body

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """The answer, whatever its status; raises TryLater if there is none.

        A request that meets a connection which the other side has just closed is sent once more on a new one,
        unless it could have had an effect.
        """
        attempts = 2 if method == "GET" else 1
        for attempt in range(1, attempts + 1):
            try:
                return self._once(method, url, headers, body)
            except urllib3.exceptions.ProtocolError:
                if attempt == attempts:
                    raise TryLater("connection_broken") from None
            except urllib3.exceptions.NewConnectionError:  # refused, or no such host: urllib3 calls it a timeout, too
                raise TryLater("unreachable") from None
            except urllib3.exceptions.TimeoutError:
                raise TryLater("timeout") from None
            except urllib3.exceptions.DecodeError:
                raise TryLater("undecodable_answer") from None
            except urllib3.exceptions.HTTPError:
                raise TryLater("unreachable") from None
        raise AssertionError("unreachable")

    def _once(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | str | None) -> Answer:
        response = self._pool.request(
            method, url, headers=headers, body=body, redirect=False, preload_content=False, decode_content=True
        )
        try:
            data = response.read(self._max_body + 1)
            if len(data) > self._max_body:
                response.close()
                raise TryLater("answer_too_large")
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                data,
                response.reason or "",
            )
        finally:
            response.release_conn()

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()
