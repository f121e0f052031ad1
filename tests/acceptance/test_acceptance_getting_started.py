"""*Getting started* and the README's tour, word for word, in a clean clone: what they promise is what one sees."""

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


@pytest.fixture(scope="module")
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


def bash(*words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The second terminal, to its end."""
    return subprocess.run(["bash", *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_getting_started_ends_with_a_bot_scheduled(clone: Path, terminal: dict[str, str]) -> None:
    done = bash("-euo", "pipefail", "-c", "\n".join(blocks("terminal 2")), cwd=clone, env=terminal)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '{"next":null,"previous":null,"results":[]}' in done.stdout
    assert done.stdout.rstrip().endswith('"state":"scheduled"')


def test_the_tour_of_the_readme_shows_what_it_says(clone: Path, terminal: dict[str, str]) -> None:
    """Every command of its second terminal. One fails, as told: the sync while Google is down."""
    text = (ROOT / "README.md").read_text()
    tour = text[text.index("Now change something, in a second terminal") : text.index("## Documentation")]
    commands = [line for block in re.findall(r"(?ms)^```sh\n(.*?)^```", tour) for line in block.splitlines()]
    moved = next(number for number, line in enumerate(commands) if "sandbox move" in line)
    commands.insert(moved + 1, TOLD)  # a reader takes longer than the webhook does
    done = bash("-uc", "\n".join(f'{line}\necho "=> $?"' for line in commands), cwd=clone, env=terminal)
    said = re.findall(r"(?s)(.*?)=> (\d+)\n", done.stdout)
    assert len(said) == len(commands), done.stderr
    steps = [(command, text, int(code)) for command, (text, code) in zip(commands, said, strict=True)]
    wrong = [command for command, _, code in steps if code]
    assert wrong == ["calendar-pipeline sync --all"], done.stdout + done.stderr
    [failed, mended] = [(text, code) for command, text, code in steps if command == "calendar-pipeline sync --all"]
    assert (failed[1], mended[1]) == (1, 0)
    assert "retry: backendError" in failed[0]
    told = [text for command, text, _ in steps if command.startswith((WAIT, TOLD))]
    for text, change in zip(told, CHANGES, strict=True):
        assert "verified" in text
        assert f"  {change} evt_" in text
    [listed] = [text for command, text, _ in steps if "ordering=-updated_at" in command]
    assert '"is_deleted":true' in listed


WAIT = "calendar-pipeline sandbox webhooks --wait"
TOLD = (
    'until said=$(calendar-pipeline sandbox webhooks) && grep -q "  updated evt_" <<< "$said"; do sleep 0.2; done; '
    'echo "$said"'
)
"""The webhooks so far, as soon as one of an update is among them: that of the first sync may come late."""
CHANGES = ("updated", "deleted", "restored")
