"""A provider on the wire: requests in, replies acted out, slow and broken ones too. Knows no provider's words."""

import asyncio
import socket
import struct
from asyncio import sleep
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from litestar import asgi
from litestar.types import ASGIApp, Receive, Scope, Send

from sandbox.faults import Fault
from sandbox.ground import Ground
from sandbox.replies import Seen

W = TypeVar("W", bound=Ground)
_HTML = "<!DOCTYPE html><html lang=en><title>Error {0}</title><p><b>{0}.</b> <ins>That’s an error.</ins></html>"


class Call(msgspec.Struct, frozen=True):
    """An HTTP request; `path` is still percent-encoded and starts after the mount (`/token`, `/calendar/v3/…`)."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""


class Reply(msgspec.Struct):
    """An HTTP answer, and how it is to be spoiled on the wire."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    delay_s: float = 0.0
    cut_after: int | None = None
    """Send so many bytes of the body, then reset the connection."""
    endpoint: str = ""
    later: "Callable[[], Reply] | None" = None
    """What is to be done first without the world's lock; the answer is what it returns."""
    sent: Callable[[], None] = lambda: None
    """Called when the answer has left, or its connection is broken; the caller holds the world's lock."""


def html(status: int) -> bytes:
    """What a front end says instead of the API."""
    return _HTML.format(status).encode()


def spoiled(reply: Reply, fault: Fault | None) -> Reply:
    """The reply as `fault` lets it arrive; see `faults.SPOILS`."""
    match fault.kind if fault is not None else None:
        case "slow":
            reply.delay_s = fault.seconds if fault is not None else 0.0
        case "truncated":
            reply.body = reply.body[: len(reply.body) // 2]
        case "reset":
            reply.cut_after = len(reply.body) // 2
        case "lost_answer":
            reply.cut_after = -1
        case "html_ok":
            reply = Reply(200, html(200), "text/html; charset=UTF-8", endpoint=reply.endpoint, sent=reply.sent)
        case "html_bad_gateway":
            reply = Reply(502, html(502), "text/html; charset=UTF-8", endpoint=reply.endpoint, sent=reply.sent)
        case _:
            pass
    return reply


def mounted(world: W, mount: str, answer: Callable[[W, Call], Reply]) -> Any:
    """The ASGI handler for everything below `mount`; `answer` is called with the world's lock held and never waits."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        call = await _read(mount, cast("dict[str, Any]", scope), receive)
        with world.lock:
            reply = answer(world, call)
        if reply.later is not None:
            reply = await asyncio.to_thread(reply.later)
        with world.lock:
            method = call.headers.get("x-http-method-override", call.method)
            keys = [name for name, _ in parse_qsl(call.query, keep_blank_values=True)]
            world.saw(Seen(world.now(), method, call.path, keys, reply.endpoint, reply.status, len(reply.body)))
        try:
            if reply.delay_s:
                await sleep(reply.delay_s)
            await _write(reply, cast("dict[str, Any]", scope), send)
        finally:
            with world.lock:
                reply.sent()

    return asgi(mount, is_mount=True, copy_scope=True)(cast("ASGIApp", handle))


async def _read(mount: str, scope: dict[str, Any], receive: Receive) -> Call:
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
    path = path[path.index(mount) + len(mount) :] if mount in path else path
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
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
        await sleep(0.02)  # so that the first half leaves before the reset
    _reset(scope)
    await sleep(0.02)  # so that the server has noticed before it looks for the rest of our answer


def _reset(scope: dict[str, Any]) -> None:
    """Break the connection as a dying host does: RST instead of FIN."""
    transport: asyncio.Transport = scope["state"]["transport"]
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
