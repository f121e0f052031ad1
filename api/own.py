"""Paths of our own beside the compatible ones: their errors are problem+json (RFC 9457), their queries are strict."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litestar import Request

from api import pagination, problems, timestamps
from api.problems import OWN
from calendar_pipeline.errors import NotFound

OPT: Mapping[str, object] = {OWN: True}
"""``opt`` of the router for these paths."""

MOST = 500

_ID = re.compile(r"[a-z]{1,16}_[A-Za-z0-9]{16}", re.ASCII)


def parameters(request: Request[Any, Any, Any], *allowed: str) -> dict[str, str]:
    """The query's parameters; raises a 400 problem for one that is unknown or given twice."""
    query: dict[str, str] = {}
    for name, value in pagination.pairs(request):
        if name not in allowed:
            known = f"Known here: {', '.join(allowed)}." if allowed else "This path takes none."
            raise problems.error(400, f"Unknown query parameter. {known}")
        if name in query:
            raise problems.error(400, f"Query parameter {name} is given twice.")
        query[name] = value
    return query


def known(text: str, prefix: str) -> str:
    """The id, if it could be one: what could not is not looked up. Raises NotFound."""
    if not could_be(text, prefix):
        raise NotFound(text)
    return text


def could_be(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an id with this prefix."""
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None


def limit(query: Mapping[str, str], *, default: int = 100, most: int = MOST) -> int:
    """The page's size; raises a 400 problem."""
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
        raise problems.error(400, f"limit is a number from 1 to {most}.")
    return int(text)


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is ``true`` or ``false``; absent is false. Raises a 400 problem."""
    match query.get(name, "false"):
        case "true":
            return True
        case "false":
            return False
        case _:
            raise problems.error(400, f"{name} is true or false.")


def instant(query: Mapping[str, str], name: str) -> datetime | None:
    """An instant; raises a 400 problem."""
    text = query.get(name)
    return None if text is None else timestamps.parameter(name, text)
