"""Who is asking: ``Authorization: Token <key>``. Runs before the body is read."""

from typing import Any, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api import problems, services
from calendar_pipeline.projects import store as projects
from calendar_pipeline.projects.model import Key

MISSING = "Missing Authorization header"
INVALID = "Invalid Authorization header. Should have this format: Token <api_key>"
UNKNOWN = "Invalid or disabled API key"


def require_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: let only holders of a live key pass, and note the use at most once a minute."""
    key = authenticate(connection)
    connection.scope["auth"] = key


def authenticate(connection: ASGIConnection[Any, Any, Any, Any]) -> Key:
    """The key that the request shows; raises a 401 problem."""
    secret = secret_of(connection.headers.get("authorization"))
    service = services.of(connection)
    now = service.clock()
    with service.db.single() as conn:
        key = projects.find_key(conn, secret)
        if key is None:
            raise problems.unauthorized(UNKNOWN)
        if projects.use_is_news(key, now=now):
            projects.mark_used(conn, key, now=now)
    return key


def secret_of(header: str | None) -> str:
    """The key in an Authorization header: two words, the first being ``Token`` in any case."""
    if not header:
        raise problems.unauthorized(MISSING)
    words = header.split()
    if len(words) != 2 or words[0].lower() != "token":
        raise problems.unauthorized(INVALID)
    return words[1]


def project_id(request: Request[Any, Any, Any]) -> str:
    """The project that the request acts for."""
    return cast(Key, request.auth).project_id
