"""The sandbox as a web server: an application, and a context manager that runs it for a test.

Nothing is kept here: state files are `snapshot`'s.
"""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.logging import LoggingConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.client import Client
from sandbox.control import routes, unusable
from sandbox.errors import Missing, Unusable
from sandbox.google import calls as google
from sandbox.microsoft import calls as microsoft
from sandbox.wire import mounted
from sandbox.world import World

_START_S = 10.0


class _Protocol(HttpToolsProtocol):
    """Tells the application its connection, so that it can break it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def create_app(world: World) -> Litestar:
    """Google below `/google`, Entra and Graph below `/microsoft`, the controls below `/_sandbox`."""
    return Litestar(
        route_handlers=[
            mounted(world, google.MOUNT, google.answer),
            mounted(world, microsoft.MOUNT, microsoft.answer),
            routes(world),
        ],
        exception_handlers={Unusable: unusable},
        openapi_config=None,
        logging_config=LoggingConfig(
            configure_root_logger=False, log_exceptions="always", disable_stack_trace={Unusable, Missing, 404, 405}
        ),
    )


class Running(Client):
    """A running sandbox: its control client, its world, and its addresses."""

    def __init__(self, world: World, url: str) -> None:
        super().__init__(url)
        self.world = world

    @property
    def google_url(self) -> str:
        """`api_endpoint` for google-api-python-client."""
        return f"{self.url}/google/calendar/v3/"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/google/token"

    @property
    def graph_url(self) -> str:
        """`MICROSOFT_GRAPH_BASE_URL`: Graph's root without the version."""
        return f"{self.url}/microsoft/graph"

    @property
    def login_url(self) -> str:
        """`MICROSOFT_LOGIN_BASE_URL`: Entra's root without the tenant."""
        return f"{self.url}/microsoft/login"


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises `Unusable` if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only on sockets that name TCP: without, each answer takes 40 ms.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        message = f"Cannot listen on {host}:{port} ({error.strerror}): choose another port, or stop what uses it."
        raise Unusable(message) from None
    return taken


def serving(world: World) -> uvicorn.Server:
    """A server that is not started yet; `run(sockets=[listen(…)])` it, and set `should_exit` to stop it."""
    config = uvicorn.Config(
        create_app(world),
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        backlog=2048,
    )
    return uvicorn.Server(config)


@contextmanager
def running(world: World | None = None, *, port: int = 0) -> Generator[Running]:
    """A sandbox on 127.0.0.1, on a free port unless one is given; stopped, and its socket closed, on leaving."""
    world = world or World()
    server = serving(world)
    sock = listen("127.0.0.1", port)
    world.base_url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    thread = threading.Thread(target=server.run, args=([sock],), name="sandbox", daemon=True)
    thread.start()
    try:
        started = time.monotonic()
        while not server.started:
            if not thread.is_alive() or time.monotonic() - started > _START_S:
                message = f"The sandbox did not start within {_START_S:.0f} s."
                raise RuntimeError(message)
            time.sleep(0.005)
        with Running(world, world.base_url) as sandbox:
            yield sandbox
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        world.courier.close()
