"""What the client wants back: JSON, or nothing."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api import problems

ACCEPTABLE = frozenset({"*/*", "application/*", "application/json", ""})


def require_json(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse a request whose ``Accept`` excludes JSON."""
    if not accepts_json(connection.headers.getall("accept", [])):
        raise problems.detail(406, "Could not satisfy the request Accept header.")


def accepts_json(headers: list[str]) -> bool:
    """Whether JSON satisfies the ``Accept`` headers. None at all accept anything; weights only count when zero."""
    ranges = [part for header in headers for part in header.split(",")]
    return not ranges or any(_matches(part) for part in ranges)


def _matches(part: str) -> bool:
    media_type, *parameters = (word.strip().lower() for word in part.split(";"))
    weight = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    return media_type in ACCEPTABLE and weight.strip("0.") != ""
