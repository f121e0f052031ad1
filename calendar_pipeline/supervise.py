"""Child processes of `calendar-pipeline up`: started, prefixed, watched, and all stopped in the end.

Run as a program it is the guard: a process that ends them should `up` itself be killed.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from calendar_pipeline.errors import SetupError

STOP_SECONDS = 15.0
ALL_STOPPED = "all stopped"
"""What the guard is told when there is nothing left for it to do."""


@dataclass
class Child:
    """One started process and its own process group."""

    name: str
    process: subprocess.Popen[str]
    relay: threading.Thread


@dataclass
class Supervisor:
    """Starts children and guarantees that none of them outlives it."""

    colours: bool = field(default_factory=sys.stdout.isatty)
    children: list[Child] = field(default_factory=list["Child"])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _guard: subprocess.Popen[str] | None = None
    _is_quiet: bool = False

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Child:
        """Start `command` in a process group of its own; its output appears here, line by line, with its name."""
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "calendar_pipeline.supervise"],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        relay = threading.Thread(target=self._relay, args=(name, process.stdout), daemon=True)
        child = Child(name, process, relay)
        self.children.append(child)
        self._tell_guard(str(process.pid))
        relay.start()
        return child

    def say(self, name: str, line: str) -> None:
        """One line of output under a name."""
        prefix = f"\x1b[36m{name:>8}\x1b[0m │ " if self.colours else f"{name:>8} | "
        with self._lock:
            print(prefix + line, flush=True)

    def _relay(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if not self._is_quiet:
                    self.say(name, line.rstrip("\n"))

    def _tell_guard(self, line: str) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        with suppress(OSError):  # somebody has killed it
            print(line, file=self._guard.stdin, flush=True)

    def dead(self) -> Child | None:
        """A child that has ended although nobody stopped it."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def stop(self, *, quietly: bool = False) -> None:
        """Ask every process group to end, newest first; insist after `STOP_SECONDS`.

        `quietly`, if it is what somebody asked for: then what they say of it is not shown.
        """
        self._is_quiet = quietly
        for child in reversed(self.children):
            _signal_group(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
        for child in self.children:
            _signal_group(child.process.pid, signal.SIGKILL)  # also what the child may have left behind
            child.process.wait()
            child.relay.join(1.0)  # somebody else may have its output still
        if self._guard is not None:
            self._tell_guard(ALL_STOPPED)
            with suppress(OSError):
                self._guard.communicate()


def _signal_group(group: int, number: int) -> bool:
    """Whether there was such a group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def guard(lines: Iterable[str]) -> None:
    """End the process groups that are named, one to a line, when no more lines come: who wrote them is gone."""
    groups: list[int] = []
    for line in lines:
        if line.strip() == ALL_STOPPED:
            return
        groups.insert(0, int(line))
    for group in groups:
        _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_signal_group(group, 0) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.1)
    for group in groups:
        _signal_group(group, signal.SIGKILL)


def require_free(host: str, port: int, *, what: str, flag: str, variable: str) -> None:
    """Raise SetupError if the port is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"Port {port} on {host}, wanted for {what}, cannot be used ({error.strerror}). "
                f"Choose another with {flag} or {variable}."
            ) from None


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def listens(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    guard(sys.stdin)
