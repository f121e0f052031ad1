"""The sandbox's state in a file: written whole or not at all, at most once a second, and at the end."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sandbox.errors import Unusable
from sandbox.model import State
from sandbox.world import World

_EVERY_S = 1.0


def load(path: Path) -> State | None:
    """The state in the file; None if there is no such file; raises `Unusable` if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        message = f"{path} is no readable sandbox state ({error}): move it away to start afresh."
        raise Unusable(message) from None


def save(path: Path, world: World) -> None:
    """Write the state beside the file, then put it in its place."""
    with world.lock:
        data = msgspec.json.encode(world.state)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def kept(path: Path, world: World) -> Generator[None]:
    """Keep the state in the file while the world is in use; a last time on leaving."""
    stop = threading.Event()
    written = -1

    def keep() -> None:
        nonlocal written
        while not stop.wait(_EVERY_S):
            if world.changes != written:
                written = world.changes
                save(path, world)

    thread = threading.Thread(target=keep, name="sandbox-state", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        save(path, world)
