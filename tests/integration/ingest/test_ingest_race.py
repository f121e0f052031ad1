"""Two processes, each with its own connections, provider clients and key ring, at one calendar at the same moment."""

import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

WORKER = Path(__file__).with_name("race_worker.py")
ROUNDS = 200
RUN_UP_S = 0.004
"""From telling the workers of a round until it begins: both are awake by then."""


class Worker:
    """A process of its own that syncs when it is told to."""

    def __init__(self, calendar: str, environment: Mapping[str, str], directory: Path) -> None:
        self.errors = directory / f"worker-{id(self)}.log"
        with self.errors.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, WORKER, calendar],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def tell(self, line: str) -> None:
        pipe = _open(self.process.stdin)
        pipe.write(f"{line}\n")
        pipe.flush()

    def answer(self) -> str:
        """Its next line."""
        pipe = _open(self.process.stdout)
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_READ)
            answered = waiting.select(timeout=120)
        line = pipe.readline().strip() if answered else ""
        assert line, self.errors.read_text() or "a worker says nothing"
        return line

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        _open(self.process.stdin).close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _open(self.process.stdout).close()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


Race = Callable[[], tuple[list[str], bool]]


@pytest.fixture
def race(bench: Any, environment: Mapping[str, str], tmp_path: Path) -> Iterator[Race]:
    """Lets both begin at one moment: what each did, and whether they were at it at once."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(bench.cal.id, environment, tmp_path)) for _ in range(2)]
        assert [one.answer() for one in workers] == ["ready", "ready"]

        def race() -> tuple[list[str], bool]:
            begin = time.monotonic() + RUN_UP_S
            for one in workers:
                one.tell(f"{bench.clock().isoformat()} {begin}")
            answers = [one.answer().split() for one in workers]
            (_, began, ended), (_, other_began, other_ended) = answers
            at_once = float(began) < float(other_ended) and float(other_began) < float(ended)
            return [did for did, *_ in answers], at_once

        yield race
    assert [one.process.returncode for one in workers] == [0, 0]


@pytest.mark.parametrize("platform", ["google", "microsoft"])
def test_fault_38_two_processes_refresh_once_and_the_newest_token_is_kept(bench: Any, race: Race) -> None:
    """They come to the same calendar at the same moment, 200 times, its access token spent each time."""
    if bench.platform == "google":
        bench.world.set_switches({"rotate_refresh_tokens": True})
    event = bench.add("0")
    bench.sync()
    seen = {bench.refresh_token}
    winners: Counter[int] = Counter()
    together = 0
    for number in range(1, ROUNDS + 1):
        bench.clock.pass_by(hours=25)
        bench.world.retitle_event(bench.cal.there, event, str(number))
        bench.world.move_event(bench.cal.there, event, by=timedelta(hours=25))
        bench.asked()
        did, at_once = race()
        assert sorted(did) == ["-", "synced"]  # one works, the other steps aside
        winners[did.index("synced")] += 1
        together += at_once
        assert bench.asked()["token"] == 1
        assert bench.refresh_token == bench.world.credentials(bench.cal.there).refresh_token
        seen.add(bench.refresh_token)
    assert len(seen) == ROUNDS + 1  # each refresh brought another one, and none was lost
    assert together > ROUNDS / 2  # else it was no race
    assert set(winners) == {0, 1}
    history = bench.history()
    assert [row["seq"] for row in history] == [row["version"] for row in history] == list(range(1, ROUNDS + 2))
    assert [row["title"] for row in history] == [str(number) for number in range(ROUNDS + 1)]
    assert [run["outcome"] for run in bench.runs()] == ["synced"] * (ROUNDS + 1)
    print(f"\n{bench.platform}: {together} of {ROUNDS} rounds at once, won by {sorted(winners.items())}")
