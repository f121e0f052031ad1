"""What `up` starts does not outlive it, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from calendar_pipeline.supervise import Supervisor
from tests.processes import has_group

CHILD = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("interrupted in the middle", flush=True), sys.exit(1)))
print("at work", flush=True)
time.sleep(600)
"""
PARENT = f"""
import os, sys, time
from calendar_pipeline.supervise import Supervisor
child = Supervisor().start("child", [sys.executable, "-c", {CHILD!r}], os.environ)
print(f"started {{child.process.pid}}", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_what_was_started_ends_when_its_parent_is_killed(number: signal.Signals) -> None:
    """Else it would hold ports and database, and the next start would find them taken."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = ""
        while not ((started := re.search(r"started (\d+)", said)) and "at work" in said):  # in whichever order
            line = parent.stdout.readline()
            assert line, said
            said += line
        child = int(started[1])
        parent.send_signal(number)
        parent.wait()
        deadline = time.monotonic() + 60
        while has_group(child) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not has_group(child)


@pytest.mark.parametrize("quietly", [True, False])
def test_what_it_says_of_being_stopped_is_shown_unless_that_was_asked_for(
    quietly: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor, said = Supervisor(), ""
    child = supervisor.start("child", [sys.executable, "-c", CHILD], os.environ)
    while "at work" not in said:
        said += capsys.readouterr().out
        time.sleep(0.01)
    supervisor.stop(quietly=quietly)
    deadline = time.monotonic() + 60
    while not quietly and "interrupted" not in said and time.monotonic() < deadline:
        said += capsys.readouterr().out
    assert ("interrupted in the middle" in said + capsys.readouterr().out) is not quietly
    assert not has_group(child.process.pid)
