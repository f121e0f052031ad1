"""Endpoints of every kind on loopback, with real sockets, and an outbox to deliver to them."""

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from calendar_pipeline import ids
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import webhook_subscription
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.webhooks import outbox
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.outbox import Message
from calendar_pipeline.webhooks.run import Dispatch, Done, deliver

LOCAL = Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None)


@dataclass(frozen=True)
class Request:
    """What came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Writer = asyncio.StreamWriter
Behave = Callable[[Request, Writer], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Behave:
    """A plain answer."""

    async def behave(_: Request, writer: Writer) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return behave


async def hang(_: Request, writer: Writer) -> None:
    """Never answer."""
    await asyncio.sleep(60)


async def reset(_: Request, writer: Writer) -> None:
    """Reset the connection instead of answering."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def raw(*chunks: bytes, pause: float = 0.0, forever: bool = False) -> Behave:
    """These bytes, with a pause before each; the last one again and again if `forever`."""

    async def behave(_: Request, writer: Writer) -> None:
        queue = list(chunks)
        while queue:
            await asyncio.sleep(pause)
            writer.write(queue[0])
            await writer.drain()
            if len(queue) > 1 or not forever:
                queue.pop(0)
        writer.close()

    return behave


class Endpoint:
    """A customer's server: notes every request and behaves as told, one way after the other, the last for ever."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.most_at_once = 0
        self._at_once = 0
        self._behaviour: list[Behave] = [answer()]
        self._tls = tls
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0
        self._tasks: set[Any] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    def behave(self, *behaviour: Behave) -> None:
        self._behaviour = list(behaviour)

    def bodies(self) -> list[Any]:
        return [request.json for request in self.requests]

    def wait_for(self, count: int, timeout: float = 20) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout), len(self.requests)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._loop.set_exception_handler(lambda *_: None)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines if x)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                request = Request(method, path, headers, body)
                behave = self._behaviour[0]
                if len(self._behaviour) > 1:
                    self._behaviour.pop(0)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                try:
                    await behave(request, writer)
                finally:
                    self._at_once -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            with contextlib.suppress(Exception):
                writer.close()
            self._tasks.discard(task)


@dataclass
class Hooks:
    """An outbox, and what a test does with it and looks at."""

    db: Database
    clock: Any
    keyring: KeyRing
    dispatch: Dispatch
    project: str
    secret: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def endpoint(self, tls: ssl.SSLContext | None = None) -> Endpoint:
        made = Endpoint(tls)
        self.endpoints.append(made)
        return made

    def subscribe(self, url: str, **more: Any) -> str:
        row = {
            "id": ids.new("webhook"),
            "project_id": self.project,
            "url": url,
            "triggers": ["calendar.events_update"],
            "updated_at": self.clock(),
            **more,
        }
        with self.db.begin() as connection:
            connection.execute(sa.insert(webhook_subscription).values(row))
        return str(row["id"])

    def tell(self, subscription: str, count: int = 1, *, calendar: str = "cal_1", **payload: Any) -> list[str]:
        """Put messages into the outbox; their ids."""
        messages = []
        for number in range(count):
            key = uuid4()
            messages.append(
                Message(
                    project_id=self.project,
                    subscription_id=subscription,
                    trigger="calendar.events_update",
                    key=key,
                    payload={"idempotency_key": str(key), "number": number, **payload},
                    calendar_id=calendar,
                )
            )
        with self.db.begin() as connection:
            return outbox.write(connection, messages, at=self.clock())

    def deliver(self, *, dispatch: Dispatch | None = None, **how: Any) -> Done:
        return deliver(dispatch or self.dispatch, **how)

    def with_(self, **changes: Any) -> Dispatch:
        return replace(self.dispatch, **changes)

    def rows(self, query: str, **parameters: object) -> list[Any]:
        with self.db.single() as connection:
            return list(connection.execute(sa.text(query), parameters).mappings())

    def execute(self, statement: str, **parameters: object) -> None:
        with self.db.single() as connection:
            connection.execute(sa.text(statement), parameters)

    def deliveries(self) -> list[Any]:
        return self.rows("SELECT * FROM webhook_delivery ORDER BY n")

    def delivery(self) -> Any:
        [row] = self.deliveries()
        return row

    def attempts(self) -> list[Any]:
        return self.rows("SELECT * FROM webhook_attempt ORDER BY id")

    def subscription(self, row: str) -> Any:
        [found] = self.rows("SELECT * FROM webhook_subscription WHERE id = :id", id=row)
        return found

    def wait_out(self) -> None:
        """Let time pass until the next attempt is due."""
        [row] = self.rows(
            "SELECT min(next_attempt_at) AS at FROM webhook_delivery WHERE attempts > 0 AND status = 'pending'"
        )
        self.clock.now = max(self.clock.now, row["at"])
        [row] = self.rows("SELECT max(blocked_until) AS at FROM webhook_subscription")
        self.clock.now = max(self.clock.now, row["at"] or self.clock.now)


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """One database for all of these tests; each starts with it empty."""
    return new_database()


@pytest.fixture
def hooks(database_url: str, clock: Any, keyring: KeyRing) -> Iterator[Hooks]:
    with Database(database_url) as db:
        with db.begin() as connection:
            connection.execute(sa.text("DELETE FROM project"))
            project = projects.create(connection, "ours", now=clock()).id
            secret = projects.set_webhook_secret(connection, keyring, project, now=clock())
        made = Hooks(
            db=db,
            clock=clock,
            keyring=keyring,
            project=project,
            secret=secret,
            dispatch=Dispatch(
                db=db,
                keyring=keyring,
                policy=LOCAL,
                clock=clock,
                rng=random.Random(1),
            ),
        )
        yield made
        for endpoint in made.endpoints:
            endpoint.close()


@pytest.fixture
def behaviours() -> Any:
    """Ways to behave badly."""

    class Behaviours:
        pass

    for behaviour in (answer, hang, reset, raw):
        setattr(Behaviours, behaviour.__name__, staticmethod(behaviour))
    return Behaviours
