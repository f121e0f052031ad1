"""Instants as the API reads them. It writes them in UTC with ``Z``, with microseconds only where there are any."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from api import problems

EXAMPLE = "2025-01-13T10:30:00Z"

_SHAPE = re.compile(
    r"\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,12})?)?(Z|z|[+-]\d{2}(:?[0-5]\d)?)?)?", re.ASCII
)


def parse(text: str) -> datetime | None:
    """The instant that an ISO 8601 text names, in UTC; None if it names none.

    Seconds and fraction may be left out, and so may the offset (then it is UTC) or the whole time (then midnight).
    """
    if not _SHAPE.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def optional(query: Mapping[str, str], name: str, *, example: str = EXAMPLE) -> datetime | None:
    """The instant in a query parameter, None without it; raises a 400 problem."""
    text = query.get(name)
    return None if text is None else parameter(name, text, example=example)


def parameter(name: str, text: str, *, example: str = EXAMPLE) -> datetime:
    """The instant in a query parameter; raises a 400 problem that shows how to write one."""
    instant = parse(text)
    if instant is None:
        raise problems.error(400, f"Invalid {name} format. Use ISO 8601 format (e.g., {example})")
    return instant
