"""Everything that goes wrong, as HTTP says it: the one way from an error to an answer.

Clients switch on four shapes: ``{"detail": text}`` for the transport (who are you, what did you send),
``{"error": text}`` for the request's subject, ``{"<field>": [text]}`` for fields, and
``{"non_field_errors": [text]}`` for the body as a whole. On paths of our own the same is said as problem+json
(RFC 9457). No answer shows anything of the inside.
"""

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, NotFoundException
from sqlalchemy import exc

from calendar_pipeline.errors import SetupError

log = logging.getLogger(__name__)


OWN = "own"
"""Key of a handler's ``opt``: its path is one of our own."""


class Problem(Exception):
    """An answer other than success: status, JSON body, headers."""

    def __init__(self, status: int, body: Mapping[str, object], *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def detail(status: int, text: str, *, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem of the transport."""
    return Problem(status, {"detail": text}, headers=headers)


def error(status: int, text: str) -> Problem:
    """A problem with the request's subject or its query."""
    return Problem(status, {"error": text})


def fields(messages: Mapping[str, object]) -> Problem:
    """All fields that are wrong, at once."""
    return Problem(400, messages)


def whole(text: str) -> Problem:
    """The body as a whole is wrong."""
    return Problem(400, {"non_field_errors": [text]})


def unauthorized(text: str) -> Problem:
    """Nobody we know."""
    return detail(401, text, headers={"WWW-Authenticate": "Token"})


def not_allowed(method: str, allow: str) -> Problem:
    """The path exists, the method does not."""
    return detail(405, f'Method "{method}" not allowed.', headers={"Allow": allow})


def unsupported(content_type: str) -> Problem:
    """A body of a type that is not read."""
    return detail(415, f'Unsupported media type "{content_type}" in request.')


def translate(exception: Exception) -> Problem:
    """The problem that an exception is to the client; 500 without a word more for those that are our fault."""
    match exception:
        case Problem():
            return exception
        case NotFoundException():
            return error(404, "Not found")
        case HTTPException(status_code=413):
            return detail(413, "Request body is too large.")
        case HTTPException(status_code=status) if 400 <= status < 500:
            return detail(status, "Malformed request.")
        case exc.OperationalError() | exc.InterfaceError() | exc.TimeoutError():
            return detail(503, "The database is not available. Try again shortly.", headers={"Retry-After": "5"})
        case SetupError():
            return detail(503, "The service is not set up. Try again later.", headers={"Retry-After": "60"})
        case _:
            return detail(500, "Internal server error.")


def answer(request: Request[Any, Any, Any], exception: Exception) -> Response[bytes]:
    """Litestar's exception handler."""
    problem = translate(exception)
    if problem.status >= 500:
        _report(request, exception)
    own = is_own(request)
    return Response(
        content=msgspec.json.encode(standard(problem) if own else problem.body),
        status_code=problem.status,
        headers=dict(problem.headers),
        media_type="application/problem+json" if own else MediaType.JSON,
    )


def is_own(request: Request[Any, Any, Any]) -> bool:
    """Whether the path is one of our own, and strict."""
    handler: Any = cast(dict[str, Any], request.scope).get("route_handler")
    return handler is not None and bool(handler.opt.get(OWN))


def standard(problem: Problem) -> Mapping[str, object]:
    """The problem as RFC 9457 has it; wrong fields stand under ``errors``."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
    }
    match problem.body:
        case {"detail": str(text), **more} | {"error": str(text), **more}:
            return {**body, "detail": text, **more}
        case {"non_field_errors": [str(text)]}:
            return {**body, "detail": text}
        case errors:
            names = ", ".join(sorted(errors))
            return {**body, "detail": f"Wrong in the body: {names}.", "errors": errors}


def _report(request: Request[Any, Any, Any], exception: Exception) -> None:
    """Log where it happened and of which kind it is; never its message, which may quote a body or a parameter."""
    scope = cast(dict[str, Any], request.scope)
    frames = traceback.extract_tb(exception.__traceback__)
    log.error(
        "%s %s failed: %s\n%s",
        scope["method"],
        scope.get("path_template") or "-",
        type(exception).__qualname__,
        "\n".join(f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames),
    )
