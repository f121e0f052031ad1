"""How many bots are handed over within the minute they are due in.

Usage: python -m bench.bots [--bots 10000] [--workers 2] [--threads 16]. Bots are spread over one minute. Workers are
processes, as an installation has them; the runner is an Attendee-compatible server on this machine, asked over HTTP.
Prints launches per second, statements per bot, and how late hand-overs were.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from calendar_pipeline.bots import run
from calendar_pipeline.bots.runners.attendee import AttendeeRunner
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import store as projects
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing, generate

MINUTE = timedelta(minutes=1)

FILL = sa.text("""
    INSERT INTO bot (id, project_id, name, meeting_url, join_at, state, created_at, updated_at, due_at)
    SELECT 'bot_' || lpad(n::text, 16, '0'), :project, 'Notes', 'https://meet.google.com/abc-defg-hij',
           CAST(:start AS timestamptz) + n * CAST(:length AS interval) / :bots, 'scheduled', now(), now(), now()
    FROM generate_series(0, :bots - 1) n
""")

HANDED = sa.text("""
    SELECT extract(epoch FROM handed_at - join_at)::float AS late, extract(epoch FROM handed_at)::float AS at
    FROM bot WHERE handed_at IS NOT NULL
""")


def serve(port: Any) -> None:
    """An Attendee-compatible server, as far as launching goes: one bot for one key."""
    bots: dict[str, str] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            length = 0
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            key = json.loads(await reader.readexactly(length))["deduplication_key"] if line[:4] == b"POST" else ""
            is_new = key not in bots
            body = json.dumps({"id": bots.setdefault(key, f"b{len(bots)}")}).encode()
            status = b"201 Created" if is_new else b"400 Bad Request"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        async with server:
            await server.serve_forever()

    asyncio.run(main())


def work(url: str, keys: str, port: int, threads: int, until: float, statements: Any) -> None:
    """A worker as an installation has it: it looks for work until the end."""
    with Database(url, connections=4) as db:
        bots = run.Bots(
            db=db,
            keyring=KeyRing.parse(keys),
            runner=AttendeeRunner(Transport(timeout=5), base_url=f"http://127.0.0.1:{port}", api_key="k"),
            clock=lambda: datetime.now(UTC),
            threads=threads,
        )
        while time.time() < until:
            if not run.work(bots).total:
                time.sleep(0.2)
        with statements.get_lock():
            statements.value += db.statements


def main() -> None:
    """Fill, work for a minute and a little, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bots", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cp-bench-") as directory:
        Path(directory).chmod(0o755)
        server = embedded.start(Path(directory))
        url = embedded.url(server)
        with Database(url) as db:
            migrate.upgrade(db)
            with db.begin() as connection:
                project = projects.create(connection, "bench", now=datetime.now(UTC)).id
                start = datetime.now(UTC) + timedelta(seconds=25)
                connection.execute(FILL, {"project": project, "start": start, "length": MINUTE, "bots": given.bots})
            measure(db, url, start, given)
        server.cleanup()


def measure(db: Database, url: str, start: datetime, given: argparse.Namespace) -> None:
    """Run the workers over the minute; all bots are staged before it begins."""
    port = multiprocessing.Value("i", 0)
    statements = multiprocessing.Value("q", 0)
    runner = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    runner.start()
    while not port.value:
        time.sleep(0.01)
    end = start + MINUTE
    until = end.timestamp() + 20
    words = (str(url), generate("bench"), port.value, given.threads, until, statements)
    workers = [multiprocessing.Process(target=work, args=words) for _ in range(given.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    runner.terminate()
    with db.single() as connection:
        rows = connection.execute(HANDED).all()
    late = sorted(row.late for row in rows)
    in_time = sum(row.at <= end.timestamp() + 0.5 for row in rows)
    last = max(row.at for row in rows) - start.timestamp()
    print(f"bots due within one minute       {given.bots}")
    print(f"handed over                      {len(rows)}, {in_time} of them within that minute")
    print(f"last hand-over                   {last:.1f} s after the minute began")
    print(f"launches per second              {len(rows) / max(last, 1):.0f}")
    print(f"statements per bot               {statements.value / max(len(rows), 1):.2f}")
    median, p95 = statistics.median(late), late[int(len(late) * 0.95) - 1]
    print(f"seconds late                     median {median:.2f}, p95 {p95:.2f}, most {late[-1]:.2f}")


if __name__ == "__main__":
    main()
