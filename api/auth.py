"""Who is asking, and whether they may: ``Authorization: Token <key>``. Runs before the body is read.

``Bearer`` is understood as well, since most tools send that. What a handler needs stands in its ``opt`` under
``scope``: a key without it is refused, and a handler that says nothing answers nobody.
"""

from typing import Any, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api import limits, problems, services
from calendar_pipeline.projects import store as projects
from calendar_pipeline.projects.model import Key

MISSING = "Missing Authorization header"
INVALID = "Invalid Authorization header. Should have this format: Token <api_key>"
UNKNOWN = "Invalid or disabled API key"

SCHEMES = ("token", "bearer")

SCOPE = "scope"
"""Key of a handler's ``opt``: the scope it needs."""
ANY = "any"
"""Any live key may ask this."""
SETTLED = "settled"
"""Key of a handler's ``opt``: wait for whoever is writing events of the project before reading them."""


def require_key(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: let only holders of a live key with the right scope pass, and note the use at most once a minute."""
    needed = handler.opt.get(SCOPE)
    if not isinstance(needed, str):
        raise TypeError(f"{handler} says no scope, so nobody may use it")
    key = authenticate(connection, settled=bool(handler.opt.get(SETTLED)))
    if needed != ANY and not key.may(needed):
        raise problems.detail(403, f"This API key lacks the scope {needed}: use one that has it.")
    connection.scope["auth"] = key


def authenticate(connection: ASGIConnection[Any, Any, Any, Any], *, settled: bool = False) -> Key:
    """The key that the request shows; raises a 401 problem, or 429 for one who asks too often."""
    service = services.of(connection)
    host = connection.client.host if connection.client else "-"
    try:
        secret = secret_of(connection.headers.get("authorization"))
        with service.db.single() as conn:
            key = projects.find_key(conn, secret, now=service.clock(), settled=settled)
        if key is None:
            raise problems.unauthorized(UNKNOWN)
        limits.of_key(service.limits, key)
    except problems.Problem as refusal:
        if refusal.status == 401:
            limits.of_stranger(service.limits, host)
        raise
    return key


def secret_of(header: str | None) -> str:
    """The key in an Authorization header: two words, the first being ``Token`` or ``Bearer`` in any case."""
    if not header:
        raise problems.unauthorized(MISSING)
    words = header.split()
    if len(words) != 2 or words[0].lower() not in SCHEMES:
        raise problems.unauthorized(INVALID)
    return words[1]


def key_of(request: Request[Any, Any, Any]) -> Key:
    """The key that the request was let in with."""
    return cast(Key, request.auth)


def project_id(request: Request[Any, Any, Any]) -> str:
    """The project that the request acts for."""
    return key_of(request).project_id
