"""A web application served to a browser, or to whoever else asks over HTTP."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def serving(server: uvicorn.Server, sock: Any) -> Generator[None]:
    """A server on a bound socket, from when it answers; it is stopped in the end."""
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
        sock.close()
