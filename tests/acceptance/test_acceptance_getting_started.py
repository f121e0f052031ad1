"""*Getting started*, word for word, in a clean clone: ends with a bot scheduled."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"


def blocks(terminal: str) -> list[str]:
    """The page's commands for a terminal."""
    return re.findall(rf'(?ms)^```sh title="{terminal}"\n(.*?)^```', PAGE.read_text())


@pytest.fixture
def terminal(clone: Path, installation_environment: Callable[[], dict[str, str]]) -> Iterator[dict[str, str]]:
    """The environment of both terminals; `up` runs in the first."""
    variables = installation_environment() | {"PYTHONPATH": str(clone)}
    log = clone / "up.log"
    [command] = blocks("terminal 1")
    with log.open("wb") as out:
        up = subprocess.Popen(
            ["bash", "-euc", command],
            cwd=clone,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while "| ready:" not in (said := log.read_text(errors="replace")):
            assert up.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        yield variables | {"API": f"http://127.0.0.1:{variables['API_PORT']}/api/v1"}
    finally:
        os.killpg(up.pid, signal.SIGTERM)
        up.wait(90)


def test_getting_started_ends_with_a_bot_scheduled(clone: Path, terminal: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks("terminal 2"))],
        cwd=clone,
        env=terminal,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '{"next":null,"previous":null,"results":[]}' in done.stdout
    assert done.stdout.rstrip().endswith('"state":"scheduled"')
