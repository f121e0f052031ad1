"""Partial responses: `fields=items(id,start/dateTime),nextPageToken`.

The trap is kept on purpose: a mask that doesn't name the tokens hides them.
"""

import re
from functools import lru_cache
from typing import Any, cast

from sandbox.google.errors import GoogleError, invalid

Mask = dict[str, Any]
_TOKENS = re.compile(r"[A-Za-z0-9_$*-]+|[(),/]")


@lru_cache(maxsize=256)
def parse(text: str) -> Mask:
    """The mask as nested names; an empty dict below a name means all of it. Raises 400 `invalidParameter`."""
    tokens = _TOKENS.findall(text)
    if "".join(tokens) != text.replace(" ", "") or not tokens:
        raise _bad(text)
    mask, rest = _list(tokens, text)
    if rest:
        raise _bad(text)
    return mask


def apply(mask: Mask, value: Any) -> Any:
    """`value` with only what the mask names."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [apply(mask, one) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value)
        return {name: apply(mask[name], one) for name, one in known.items() if name in mask}
    return value


def _list(tokens: list[str], text: str) -> tuple[Mask, list[str]]:
    mask: Mask = {}
    while True:
        if not tokens or tokens[0] in "(),/":
            raise _bad(text)
        name, tokens = tokens[0], tokens[1:]
        below: Mask = mask.setdefault(name, {})
        while tokens and tokens[0] == "/":
            if len(tokens) == 1 or tokens[1] in "(),/":
                raise _bad(text)
            below, tokens = below.setdefault(tokens[1], {}), tokens[2:]
        if tokens and tokens[0] == "(":
            inner, tokens = _list(tokens[1:], text)
            if not tokens or tokens[0] != ")":
                raise _bad(text)
            below.update(inner)
            tokens = tokens[1:]
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]


def _bad(text: str) -> GoogleError:
    return invalid(f"Invalid field selection {text}", "fields")
