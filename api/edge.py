"""What holds for every request before routing and for every answer after it.

Paths are taken literally (no trailing slash, no double one). HEAD is GET without the body. A method unknown to HTTP
is refused by the handler that answers OPTIONS, which every path has. Every answer gets the security headers and the
request's id, and every request one line in the log, which never holds a path as sent, a query, a header or a body.
"""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api import methods, writes
from api.metrics import Metrics
from calendar_pipeline import ids, logs

log = logging.getLogger("api.access")

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
)

ROUTED = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NOWHERE = "/-"
"""A path that no route has."""


def wrap(app: ASGIApp, *, metrics: Metrics, timer: Callable[[], float] = perf_counter) -> ASGIApp:
    """`app` with the rules of this module round it; every request is counted in `metrics`."""

    async def edge(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        asked = scope["method"]
        request_id = ids.new("req")
        inner: Any = {**scope, methods.ASKED: asked, writes.REQUEST_ID: request_id}
        if asked not in ROUTED:
            inner["method"] = "GET" if asked == "HEAD" else "OPTIONS"
        if "//" in scope["path"] or (scope["path"].endswith("/") and scope["path"] != "/"):
            inner["path"] = NOWHERE
        status = 0
        start = timer()

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*_headers(message["headers"]), (b"x-request-id", request_id.encode())]
            elif message["type"] == "http.response.body" and asked == "HEAD":
                message["body"] = b""
            await send(message)

        with logs.about(request_id=request_id):
            try:
                await app(inner, receive, tell)
            finally:
                method = asked if asked in ROUTED or asked == "HEAD" else "-"
                template = inner.get("path_template") or "-"
                took = timer() - start
                log.info("%s %s %d %.1f ms %s", method, template, status, took * 1000, request_id)
                metrics.requests.labels(method, template, f"{status // 100}xx").observe(took)

    return edge


def _headers(given: Any) -> list[tuple[bytes, bytes]]:
    """The answer's headers, and ours where it has none of the name; an empty body has no type."""
    headers: list[tuple[bytes, bytes]] = list(given)
    if (b"content-length", b"0") in headers:
        headers = [(name, value) for name, value in headers if name != b"content-type"]
    said = {name.lower() for name, _ in headers}
    return [*headers, *(ours for ours in HEADERS if ours[0] not in said)]
