"""Workers are killed in the middle, again and again: nothing is lost, and what comes twice comes under the same key."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate

WORKER = Path(__file__).with_name("hooks_worker.py")

DELIVERIES = int(os.environ.get("WEBHOOK_KILL_DELIVERIES", "150"))
KILLS = int(os.environ.get("WEBHOOK_KILLS", "5"))
"""A short one here; `make soak` has 1,500 and 40."""


@pytest.fixture
def keys(hooks: Any) -> str:
    """Keys that another process can be given, and the wall clock, which it has."""
    keys = generate("kill")
    hooks.keyring = KeyRing.parse(keys)
    hooks.dispatch = hooks.with_(keyring=hooks.keyring)
    hooks.clock.now = datetime.now(UTC)
    with hooks.db.begin() as connection:
        projects.set_webhook_secret(connection, hooks.keyring, hooks.project, now=hooks.clock())
    return keys


def worker(hooks: Any, database_url: str, keys: str, point: str = "-", lease: float = 1.0) -> Any:
    words = [sys.executable, str(WORKER), database_url, keys, str(lease), point]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("point", ["claimed", "sent", "recorded"])
def test_15_killed_after_the_claim_after_the_request_or_before_the_commit_nothing_is_lost(
    hooks: Any, database_url: str, keys: str, point: str
) -> None:
    endpoint = hooks.endpoint()
    messages = hooks.tell(hooks.subscribe(endpoint.url), 3)
    dying = worker(hooks, database_url, keys, point)
    dying.communicate(timeout=30)
    assert dying.returncode == -signal.SIGKILL
    assert {row["status"] for row in hooks.deliveries()} == {"pending"}
    time.sleep(1.1)  # its leases
    hooks.clock.now = datetime.now(UTC)
    hooks.deliver()
    assert {row["status"] for row in hooks.deliveries()} == {"delivered"}
    keys_by_id = {(request.id, request.json["idempotency_key"]) for request in endpoint.requests}
    assert {one for one, _ in keys_by_id} == set(messages)
    assert len(keys_by_id) == 3, "what came twice came under the same key"
    assert len(endpoint.requests) >= (3 if point == "claimed" else 4)


def test_15_workers_killed_at_random_lose_nothing(hooks: Any, behaviours: Any, database_url: str, keys: str) -> None:
    rng = random.Random(15)
    endpoint = hooks.endpoint()

    async def sometimes(request: Any, writer: Any) -> None:
        await behaviours.answer(500 if rng.random() < 0.05 else 200)(request, writer)

    endpoint.behave(sometimes)
    expected: set[str] = set()
    for number in range(10):
        expected.update(hooks.tell(hooks.subscribe(f"{endpoint.url}{number}"), DELIVERIES // 10))
    # They become due little by little, so that every worker has something in hand when it is killed.
    hooks.execute(
        "UPDATE webhook_delivery SET next_attempt_at = next_attempt_at + random() * CAST(:spread AS interval)",
        spread=f"{KILLS} seconds",
    )
    workers = [worker(hooks, database_url, keys) for _ in range(2)]
    killed = 0
    deadline = time.monotonic() + 60 + 10 * KILLS
    try:
        for turn in itertools.count():
            left = hooks.rows("SELECT count(*) AS n FROM webhook_delivery WHERE status = 'pending'")[0]["n"]
            if not left and killed >= KILLS:
                break
            assert time.monotonic() < deadline, f"{left} deliveries do not arrive"
            if not left:  # more kills are owed: give them something to be killed in the middle of
                expected.update(hooks.tell(hooks.subscribe(f"{endpoint.url}x{turn}"), 20))
            time.sleep(rng.uniform(0.05, 0.4))
            if killed < KILLS:
                place = rng.randrange(2)
                workers[place].kill()
                workers[place].communicate(timeout=10)
                killed += 1
                workers[place] = worker(hooks, database_url, keys)
            else:  # the schedule's waits are not what is tried here
                hooks.execute("UPDATE webhook_delivery SET next_attempt_at = now() WHERE status = 'pending'")
                hooks.execute("UPDATE webhook_subscription SET blocked_until = NULL")
    finally:
        for one in workers:
            one.kill()
            one.communicate(timeout=10)
    good = Counter(request.id for request in endpoint.requests)
    pairs = {(request.id, request.json["idempotency_key"]) for request in endpoint.requests}
    delivered = {row["id"] for row in hooks.deliveries() if row["status"] == "delivered"}
    failed = sum(row["outcome"] == "failed" for row in hooks.attempts())
    print(
        f"\n{len(expected)} deliveries, {killed} kills, {len(endpoint.requests)} requests, {failed} failed attempts: "
        f"lost {len(expected - set(good))}, sent more than once {sum(count > 1 for count in good.values())}"
    )
    assert delivered == expected
    assert set(good) == expected
    assert len(pairs) == len(expected), "the same id has always the same key"
    assert killed >= KILLS
