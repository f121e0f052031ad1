"""What delivering webhooks costs: many due at once, to one endpoint and to many, and with one that hangs.

``python -m bench.webhooks --deliveries 10000``. The receiver is a process of its own on this machine, so both share its
cores; CPU is of the delivering process alone (PostgreSQL runs in its own).
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.webhooks import outbox, run, subscriptions
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.model import NewSubscription
from calendar_pipeline.webhooks.outbox import Message

out = Console(width=120)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Receiver(asyncio.Protocol):
    """Answers 200 to whatever comes in one piece; on the path /hang, nothing."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._held = body[length:]
            if not head.startswith(b"POST /hang"):
                self._transport.write(ANSWER)


def _serve(pipe: Pipe) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _tell(db: Database, project: str, endpoints: Sequence[str], count: int) -> None:
    """`count` messages, dealt out to the endpoints, all due now."""
    now = datetime.now(UTC)
    messages: list[Message] = []
    for number in range(count):
        key = uuid.uuid4()
        payload = {"idempotency_key": str(key), "trigger": "calendar.events_update", "data": {"state": "connected"}}
        messages.append(
            Message(
                project_id=project,
                subscription_id=endpoints[number % len(endpoints)],
                trigger="calendar.events_update",
                key=key,
                payload=payload,
            )
        )
    with db.begin() as connection:
        outbox.write(connection, messages, at=now)
    with db.single() as connection:
        connection.execute(sa.text("ANALYZE webhook_delivery"))


def _measure(name: str, dispatch: run.Dispatch, table: Table, *, hung: str | None = None) -> None:
    db = dispatch.db
    with db.single() as connection:
        before_id = connection.execute(sa.text("SELECT COALESCE(max(id), 0) FROM webhook_attempt")).scalar_one()
    statements, wall, cpu = db.statements, time.perf_counter(), time.process_time()
    done = run.deliver(dispatch)
    total, cpu, statements = time.perf_counter() - wall, time.process_time() - cpu, db.statements - statements
    with db.single() as connection:
        row = connection.execute(
            sa.text("""
                SELECT count(*) AS n, percentile_cont(0.95) WITHIN GROUP (ORDER BY milliseconds) AS p95,
                       EXTRACT(epoch FROM max(started_at) - min(started_at)) AS seconds
                FROM webhook_attempt a JOIN webhook_delivery d ON d.id = a.delivery_id
                WHERE a.id > :before AND a.outcome = 'delivered' AND d.subscription_id IS DISTINCT FROM :hung
            """),
            {"before": before_id, "hung": hung},
        ).one()
    table.add_row(
        name,
        str(row.n),
        f"{row.n / max(float(row.seconds), 0.001):.0f}",
        f"{float(row.p95):.0f}",
        f"{statements / max(done.attempts, 1):.2f}",
        f"{cpu / max(done.attempts, 1) * 1000:.2f}",
        f"{total:.1f}",
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=10_000)
    given = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    receiver.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    keyring = KeyRing.parse(generate("bench"))
    table = Table(title=f"{given.deliveries} webhooks due at once")
    for column in ("to", "delivered", "per second", "p95 ms", "statements", "CPU ms", "all in s"):
        table.add_column(column, justify="left" if column == "to" else "right")
    with tempfile.TemporaryDirectory(prefix="cp-bench-") as directory:
        Path(directory).chmod(0o755)
        server = embedded.start(Path(directory))
        with Database(embedded.url(server)) as db:
            migrate.upgrade(db)
            now = datetime.now(UTC)
            with db.begin() as connection:
                project = projects.create(connection, "bench", now=now).id
                projects.set_webhook_secret(connection, keyring, project, now=now)
                paths = ["one", *(f"many{number}" for number in range(49)), "hang"]
                new = [NewSubscription(url=f"{url}/{path}", triggers=["calendar.events_update"]) for path in paths]
                made = [row.id for row in subscriptions.create(connection, keyring, project, new, now=now)]
            dispatch = run.Dispatch(
                db=db,
                keyring=keyring,
                policy=Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None),
                clock=lambda: datetime.now(UTC),
            )
            _tell(db, project, made[:1], given.deliveries)
            _measure("one endpoint", dispatch, table)
            _tell(db, project, made[1:50], given.deliveries)
            _measure("49 endpoints", dispatch, table)
            _tell(db, project, made[1:], given.deliveries)
            _measure("the same and one that hangs", dispatch, table, hung=made[-1])
        server.cleanup()
    receiver.terminate()
    receiver.join(timedelta(seconds=5).total_seconds())
    out.print(table)


if __name__ == "__main__":
    main()
