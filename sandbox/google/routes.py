"""The Google side on the wire: requests in, replies acted out, slow and broken ones too."""

import asyncio
import socket
import struct
from typing import Any, cast
from urllib.parse import parse_qsl

from litestar import asgi
from litestar.types import ASGIApp, Receive, Scope, Send

from sandbox.google.calls import Call, Reply, answer
from sandbox.replies import Seen
from sandbox.world import World

MOUNT = "/google"


def google_app(world: World) -> Any:
    """The mounted ASGI handler for everything below `/google`."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        call = await _read(cast("dict[str, Any]", scope), receive)
        with world.lock:
            reply = answer(world, call)
            method = call.headers.get("x-http-method-override", call.method)
            keys = [name for name, _ in parse_qsl(call.query, keep_blank_values=True)]
            world.saw(Seen(world.now(), method, call.path, keys, reply.endpoint, reply.status, len(reply.body)))
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        await _write(reply, cast("dict[str, Any]", scope), send)

    return asgi(MOUNT, is_mount=True, copy_scope=True)(cast("ASGIApp", handle))


async def _read(scope: dict[str, Any], receive: Receive) -> Call:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("ascii", "replace").partition("?")[0]
    path = path[path.index(MOUNT) + len(MOUNT) :] if MOUNT in path else path
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Call(str(scope["method"]), path, scope["query_string"].decode("latin-1"), headers, body)


async def _write(reply: Reply, scope: dict[str, Any], send: Send) -> None:
    headers = {"content-type": reply.content_type, "content-length": str(len(reply.body)), **reply.headers}
    if reply.status == 204:
        headers = reply.headers
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    cut = reply.cut_after
    if cut is None:
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})
        return
    if cut >= 0:
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": reply.body[:cut], "more_body": True})
        await asyncio.sleep(0.02)  # so that the first half leaves before the reset
    _reset(scope)
    await asyncio.sleep(0.02)  # so that the server has noticed before it looks for the rest of our answer


def _reset(scope: dict[str, Any]) -> None:
    """Break the connection as a dying host does: RST instead of FIN."""
    transport: asyncio.Transport = scope["state"]["transport"]
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
