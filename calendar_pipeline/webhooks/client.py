"""Sending one webhook to an address that a stranger chose.

The look-up is made once for each connection, every address it gives is checked, and the connection goes to a checked
address, so that a name that changes its mind in between gains nothing; TLS still checks the name. Nothing is followed,
no proxy is taken from the environment, and all of it (look-up, connection, TLS, answer) must be over in one deadline,
since a timeout for each read is no limit to an endpoint that sends a byte now and then.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import cast

import httpcore2 as httpcore

from calendar_pipeline.providers.retry_after import retry_after
from calendar_pipeline.webhooks import address
from calendar_pipeline.webhooks.address import Policy, Refused
from calendar_pipeline.webhooks.plan import LONGEST_WAIT, Answer

ANSWER_READ = 16 * 1024
ANSWER_KEPT = 2 * 1024
KEEP_ALIVE = 2.0
"""Seconds. Longer, and many a server has closed the connection that we are about to use."""
LOOK_UPS = 64
"""Look-ups at once, in threads: a name server that hangs keeps a thread even after we have given up."""

EXAMINATION = 5.0
"""Seconds for the look-up when an endpoint is registered."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long an endpoint may take."""

    total: timedelta = timedelta(seconds=15)
    connect: timedelta = timedelta(seconds=5)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._plain = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """One look-up, all of it checked; then the addresses in turn, within `timeout` together."""
        ends = time.monotonic() + (timeout or 60.0)
        found = address.parse(await self._resolve(host, port))
        address.check(found, self._policy)
        last: Exception = httpcore.ConnectError("no address")
        for position, one in enumerate(found):
            left = ends - time.monotonic()
            try:
                return await self._plain.connect_tcp(
                    str(one), port, max(left / (len(found) - position), 0.001), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last


@dataclass(slots=True)
class Client:
    """Sends webhooks, many at a time, in one event loop. Use it as an async context manager."""

    policy: Policy
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None
    resolve: Resolve | None = None
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _pool: httpcore.AsyncConnectionPool | None = None
    _threads: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> "Client":
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="look-up")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=self.tls or httpcore.default_ssl_context(),
            max_connections=None,
            max_keepalive_connections=256,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=_Guarded(self.policy, self.resolve or self._look_up),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._pool is not None
        assert self._threads is not None
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up, host, port)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST it; whatever happens is an answer, within the deadline. No more of it is read than is kept."""
        status: list[int] = []
        try:
            async with asyncio.timeout(self.limits.total.total_seconds()):
                return await self._send(url, headers, body, status)
        except TimeoutError:
            return _failed("timeout", status)
        except Refused as error:
            return _failed(f"refused_{error.code}", status, str(error))
        except httpcore.TimeoutException as error:
            return _failed("connect_timeout" if isinstance(error, httpcore.ConnectTimeout) else "timeout", status)
        except httpcore.ConnectError as error:
            return _failed(*_connect_error(error, status))
        except httpcore.NetworkError as error:
            return _failed("reset", status, str(error))
        except httpcore.ProtocolError as error:
            return _failed("protocol", status, str(error))
        except socket.gaierror as error:
            return _failed("dns", status, error.strerror or "")
        except (OSError, UnicodeError) as error:
            return _failed("connect", status, type(error).__name__)

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes, status: list[int]) -> Answer:
        target = address.accept(url, self.policy)
        host = f"[{target.host}]" if target.address is not None and target.address.version == 6 else target.host
        assert self._pool is not None
        default = 443 if target.secure else 80
        request = httpcore.Request(
            method="POST",
            url=httpcore.URL(
                scheme="https" if target.secure else "http", host=target.host, port=target.port, target=target.path
            ),
            headers={
                "Host": host if target.port == default else f"{host}:{target.port}",
                **headers,
                "Content-Length": str(len(body)),
            },
            content=body,
            extensions={"timeout": {"connect": self.limits.connect.total_seconds()}},
        )
        response = await self._pool.handle_async_request(request)
        try:
            status.append(response.status)
            wait = next((text for name, text in response.headers if name.lower() == b"retry-after"), b"")
            read = bytearray()
            async for chunk in response.aiter_stream():
                read += chunk[: ANSWER_READ - len(read)]
                if len(read) >= ANSWER_READ:
                    break
        finally:
            await response.aclose()
        return Answer(
            status=response.status,
            retry_after=retry_after({"retry-after": wait.decode("latin-1")}, now=self.clock(), longest=LONGEST_WAIT),
            excerpt=readable(bytes(read[:ANSWER_KEPT])),
        )


def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, as the system finds them."""
    return [str(where[0]) for *_, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def examine(url: str, policy: Policy, *, look_up: Callable[[str, int], Sequence[str]] = look_up) -> None:
    """Raises Refused if webhooks may not go to `url` as things are, which includes that its host has no address."""
    target = address.accept(url, policy)
    pool = ThreadPoolExecutor(1, thread_name_prefix="look-up")
    try:
        found = pool.submit(look_up, target.host, target.port).result(EXAMINATION)
    except (OSError, TimeoutError):
        raise Refused("dns", "The host of this URL has no address.") from None
    finally:
        pool.shutdown(wait=False)
    address.check(address.parse(found), policy)


def _connect_error(error: Exception, status: list[int]) -> tuple[str, list[int], str]:
    """What stands behind httpcore's error: TLS, or the network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate", status, cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return "tls", status, cause.reason or "TLS"
        if isinstance(cause, ConnectionRefusedError):
            return "connect_refused", status, ""
        cause = cause.__cause__ or cause.__context__
    return "connect", status, ""


def _failed(code: str, status: list[int], detail: str = "") -> Answer:
    return Answer(status=status[0] if status else None, error=code, detail=readable(detail.encode()) or None)


def readable(raw: bytes) -> str:
    """Text of what came, whatever it was: control characters and what is not UTF-8 left out."""
    text = raw.decode("utf-8", "ignore")
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())
