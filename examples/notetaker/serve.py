"""Serves Notetaker. Pages hold a stream open while they are shown: those end first, so that stopping is quick."""

import socket
from collections.abc import Sequence

import uvicorn
from litestar import Litestar

from examples.notetaker.app import parts_of


class Server(uvicorn.Server):
    """A server of `app`, not started yet: `run(sockets=[…])`, and set `should_exit` to stop it."""

    def __init__(self, app: Litestar, *, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_level="warning",
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=3,
            )
        )
        self._app = app

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """End the streams, then the rest."""
        parts_of(self._app).pages.close()
        await super().shutdown(None if sockets is None else list(sockets))
