"""The bytes of a webhook and their signatures. Pure.

The body on the wire is the canonical form itself: keys sorted, no spaces, nothing escaped that need not be. So a
receiver that signs the bytes as they came and one that parses and writes them anew, in Python or in JavaScript, find
the same signature. What the two languages would write differently is put into a form that they write alike, or is
refused (`Unsignable`).
"""

import base64
import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping, Sequence

from calendar_pipeline.errors import CalendarPipelineError

EXACT = 2**53
"""JavaScript's numbers are exact below this."""

_INDEX = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)


class Unsignable(CalendarPipelineError):
    """No receiver could verify a signature of this; the message says of what."""


def canonical(payload: Mapping[str, object]) -> bytes:
    """`payload` as the bytes that are signed and sent; raises Unsignable.

    Whole numbers beyond 2^53 become texts, and so do fractions that JavaScript and Python write differently.
    Keys that JavaScript would put into another order are renamed (`agreed_names`).
    """
    try:
        settled = _settled(payload, "$")
        text = json.dumps(settled, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise Unsignable("$ is nested too deeply") from None
    return text.encode()


def attendee(secret: bytes, body: bytes) -> str:
    """The header ``X-Webhook-Signature``."""
    return base64.b64encode(hmac.digest(secret, body, hashlib.sha256)).decode()


def standard(secrets: Sequence[bytes], *, message: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature`` of Standard Webhooks 1.0: one signature for each secret."""
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in secrets)


def _settled(value: object, path: str) -> object:
    """`value` in the form that both languages read and write alike."""
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, path)
        case int():
            return value if -EXACT < value < EXACT else str(value)
        case float():
            return _number(value, path)
        case Mapping():
            names = agreed_names([_text(name, path) for name in value])
            return {name: _settled(item, f"{path}.{name}") for name, item in zip(names, value.values(), strict=True)}
        case list() | tuple():
            return [_settled(item, f"{path}[{position}]") for position, item in enumerate(value)]
        case _:
            raise Unsignable(f"{path} is {type(value).__name__}, which JSON does not have")


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise Unsignable(f"{path} has a key that is not a text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Unsignable(f"{path} has half of a surrogate pair")
    return value


def _number(value: float, path: str) -> int | float | str:
    """A fraction as both write it: Python says 1.0, 1e-05 and 1e+16 where JavaScript says 1, 0.00001 and 1e16."""
    if not math.isfinite(value):
        raise Unsignable(f"{path} is {value}, which JSON does not have")
    if value.is_integer():
        return int(value) if abs(value) < EXACT else repr(value)
    return value if abs(value) >= 1e-4 else repr(value)


def agreed_names(names: Sequence[str]) -> list[str]:
    """The keys of an object, renamed only if Python and JavaScript would put them into different orders.

    JavaScript puts keys such as "9" and "10" first and in the order of numbers, and sorts others by UTF-16 units;
    ``__proto__`` is no key to it at all. Where that makes a difference such numbers get leading zeros, characters
    beyond U+FFFF are written ``U+1F600``, and ``__proto__`` gets a further underscore.
    """
    if "__proto__" not in names and sorted(names) == _as_javascript_sorts(names):
        return list(names)
    width = max((len(name) for name in names if _INDEX.fullmatch(name)), default=0) + 1
    taken = set(names)
    renamed: list[str] = []
    for name in names:
        new = name
        if _INDEX.fullmatch(name):
            new = name.zfill(width)
        elif name == "__proto__":
            new = name + "_"
        else:
            new = "".join(letter if letter <= "\uffff" else f"U+{ord(letter):X}" for letter in name)
        while new != name and new in taken:
            new = f"0{new}" if new.isdigit() else f"{new}_"
        taken.add(new)
        renamed.append(new)
    return renamed


def _as_javascript_sorts(names: Sequence[str]) -> list[str]:
    indices = sorted((name for name in names if _INDEX.fullmatch(name) and int(name) < 2**32 - 1), key=int)
    others = sorted(set(names) - set(indices), key=lambda name: name.encode("utf-16-be"))
    return indices + others
