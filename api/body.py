"""Request bodies: JSON, and forms for clients that send them. An empty body is an empty object."""

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from litestar import Request
from litestar.exceptions import ClientException

from api import problems

LARGEST = 1024 * 1024
"""Bytes; a larger body is refused with 413."""

DEEPEST = 100
MOST_FORM_FIELDS = 1000

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What was sent. Every text in it is valid Unicode, every number finite, and it is not deeply nested."""

    data: object
    is_form: bool = False
    """Forms know only texts, and cannot say null: an optional field left empty counts as absent."""


async def read(request: Request[Any, Any, Any]) -> Posted:
    """The request's body; raises a 400, 413 or 415 problem. A dependency, so it runs after the guards."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if _is_empty(request):
        return Posted(data={}, is_form=kind in (FORM, MULTIPART))
    match kind:
        case "application/json":
            return Posted(data=parse_json(await request.body(), unique_keys=problems.is_own(request)))
        case "application/x-www-form-urlencoded":
            return Posted(data=parse_form(await request.body()), is_form=True)
        case "multipart/form-data":
            return Posted(data=await _multipart(request), is_form=True)
        case _:
            raise problems.unsupported(content_type)


def parse_json(body: bytes, *, unique_keys: bool = False) -> object:
    """The JSON value in `body`; of a key given twice, the last counts, unless keys are to be unique."""
    if not body:
        return {}
    try:
        value: object = json.loads(
            body.decode(),
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_unique if unique_keys else None,
        )
        _check(value)
    except RecursionError:
        raise _json_problem("nested too deeply") from None
    except ValueError as refusal:
        raise _json_problem(str(refusal)) from None
    return value


def parse_form(body: bytes) -> dict[str, object]:
    """The fields of a URL-encoded form; of a field given twice, the last counts."""
    try:
        pairs = parse_qsl(
            body.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=MOST_FORM_FIELDS, errors="replace"
        )
    except ValueError:
        raise problems.detail(400, "Form parse error - too many fields") from None
    return dict(pairs)


async def _multipart(request: Request[Any, Any, Any]) -> dict[str, object]:
    try:
        form = await request.form()
        fields: dict[str, object] = dict(form.multi_items())
        for name, value in fields.items():
            name.encode()
            if isinstance(value, str):
                value.encode()
    except ClientException as refusal:
        if refusal.status_code != 400:
            raise
        raise problems.detail(400, "Multipart form parse error - Invalid multipart body") from None
    except (LookupError, ValueError):
        raise problems.detail(400, "Multipart form parse error - Invalid text encoding") from None
    return fields


def _is_empty(request: Request[Any, Any, Any]) -> bool:
    length = request.headers.get("content-length")
    return length == "0" or (length is None and "transfer-encoding" not in request.headers)


def _json_problem(reason: str) -> problems.Problem:
    return problems.detail(400, f"JSON parse error - {reason}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("Out of range float values are not JSON compliant")
    return number


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a key is given twice")
    return names


def _check(value: object) -> None:
    """Raise ValueError for what JSON can say but we could not store or send again."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                deeper.extend(item.keys())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
                deeper.extend(item.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            elif isinstance(item, list):
                deeper.extend(item)  # pyright: ignore[reportUnknownArgumentType]
        if not deeper:
            return
        level = deeper
    raise ValueError("nested too deeply")


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("unpaired surrogate") from None
