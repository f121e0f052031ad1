"""Paths of our own beside the compatible ones: their errors are problem+json (RFC 9457), their queries are strict."""

from collections.abc import Mapping
from typing import Any

from litestar import Request

from api import pagination, problems
from api.problems import OWN

OPT: Mapping[str, object] = {OWN: True}
"""``opt`` of the router for these paths."""

MOST = 500


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
