"""How many bots are handed over within the minute they are due in.

Usage: python -m bench.bots [--bots 10000] [--workers 2] [--threads 16] [--kills 0]. Bots are spread over one minute.
Workers are processes, as an installation has them; so many of them are killed meanwhile, and others take their places.
The runner is an Attendee-compatible server on this machine, asked over HTTP.
Prints launches per second, statements per bot (without those of the killed), and how late hand-overs were.
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
from urllib.parse import parse_qs, urlsplit

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

    def post(body: bytes) -> tuple[bytes, object]:
        key = json.loads(body)["deduplication_key"]
        if key in bots:
            return b"400 Bad Request", {"error": "Deduplication key already in use."}
        bots[key] = f"b{len(bots)}"
        return b"201 Created", {"id": bots[key]}

    def get(target: bytes) -> tuple[bytes, object]:
        key = parse_qs(urlsplit(target.decode()).query)["deduplication_key"][0]
        found = [{"id": bots[key], "deduplication_key": key, "state": "joining"}] if key in bots else []
        return b"200 OK", {"results": found}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            length = 0
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            method, target, _ = line.split()
            status, said = post(await reader.readexactly(length)) if method == b"POST" else get(target)
            body = json.dumps(said).encode()
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
    parser.add_argument("--kills", type=int, default=0)
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

    def started() -> multiprocessing.Process:
        worker = multiprocessing.Process(target=work, args=words)
        worker.start()
        return worker

    workers = [started() for _ in range(given.workers)]
    for number in range(given.kills):
        time.sleep(max(0.0, (start + MINUTE * (number + 1) / (given.kills + 1)).timestamp() - time.time()))
        place = number % given.workers
        workers[place].kill()
        workers[place].join()
        workers[place] = started()
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
