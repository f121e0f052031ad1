"""`serve`: the sandbox itself."""

import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from sandbox.cli import terminal
from sandbox.cli.terminal import out


def serve(
    host: str = "127.0.0.1",
    port: int = 8090,
    state: Annotated[Path | None, typer.Option(help="Keep everything in this file, over restarts.")] = None,
    demo: Annotated[bool, typer.Option(help="Add both demo calendars, if they aren't there.")] = True,
) -> None:
    """Serve until interrupted."""
    from sandbox import snapshot
    from sandbox.server import listen, serving
    from sandbox.world import World

    with terminal.friendly(), ExitStack() as stack:
        world = World(snapshot.load(state) if state is not None else None)
        sock = listen(host, port)
        world.base_url = f"http://{host}:{port}"
        for provider in terminal.PROVIDERS if demo else ():
            made = world.add_demo(provider=provider)
            out.print(f"demo calendar {made.account}: client {made.client_id}, refresh token {made.refresh_token}")
        if state is not None:
            stack.enter_context(snapshot.kept(state, world))
        at = world.base_url
        out.print(
            f"Google is at {at}/google, Microsoft at {at}/microsoft, the controls at {at}/_sandbox. Ctrl-C stops."
        )
        # The server passes the signal on when it has stopped; dying of it would skip the last write of the state.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopped)
        serving(world).run(sockets=[sock])


def _stopped(_number: int, _frame: FrameType | None) -> None:
    """Nothing is left to do: the server has stopped by itself."""
