"""Child processes of `calendar-pipeline up`: started, prefixed, watched, and all stopped in the end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from calendar_pipeline.errors import SetupError

STOP_SECONDS = 15.0


@dataclass
class Child:
    """One started process and its own process group."""

    name: str
    process: subprocess.Popen[str]


@dataclass
class Supervisor:
    """Starts children and guarantees that none of them outlives it."""

    colours: bool = field(default_factory=sys.stdout.isatty)
    children: list[Child] = field(default_factory=list["Child"])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Child:
        """Start `command` in a process group of its own; its output appears here, line by line, with its name."""
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
        child = Child(name, process)
        self.children.append(child)
        assert process.stdout is not None
        threading.Thread(target=self._relay, args=(name, process.stdout), daemon=True).start()
        return child

    def say(self, name: str, line: str) -> None:
        """One line of output under a name."""
        prefix = f"\x1b[36m{name:>8}\x1b[0m │ " if self.colours else f"{name:>8} | "
        with self._lock:
            print(prefix + line, flush=True)

    def _relay(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self.say(name, line.rstrip("\n"))

    def dead(self) -> Child | None:
        """A child that has ended although nobody stopped it."""
        return next((child for child in self.children if child.process.poll() is not None), None)

    def stop(self) -> None:
        """Ask every process group to end, newest first; insist after `STOP_SECONDS`."""
        for child in reversed(self.children):
            _signal_group(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
        for child in self.children:
            _signal_group(child, signal.SIGKILL)  # also what the child may have left behind
            child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


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
