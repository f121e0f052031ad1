"""Pages and the links between them. Cursors are opaque to clients; a bad one is a 404."""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from litestar import Request

from api import problems
from calendar_pipeline.db.keyset import Page, Seek, Step

T = TypeVar("T")

MOST_PARAMETERS = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[a-z]{1,16}_[A-Za-z0-9]{1,64}", re.ASCII)


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    listing: str
    step: Step
    microseconds: int
    id: str


def pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The query's parameters in order, empty ones too; invalid UTF-8 becomes replacement characters."""
    try:
        return parse_qsl(
            request.scope["query_string"].decode("ascii", "replace"),
            keep_blank_values=True,
            max_num_fields=MOST_PARAMETERS,
            errors="replace",
        )
    except ValueError:
        raise problems.error(400, "Too many query parameters") from None


def parameters(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The query's parameters; of one given twice, the last counts."""
    return dict(pairs(request))


def seek(query: dict[str, str], *, listing: str) -> Seek | None:
    """Where the page asked for starts; None for the first page.

    `listing` names what is listed and in which order: a cursor of another listing is a bad one.
    """
    text = query.get("cursor")
    return read_cursor(text, listing=listing) if text else None


def read_cursor(text: str, *, listing: str) -> Seek:
    """The place that a cursor means; raises a 404 problem."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        cursor = msgspec.json.decode(raw, type=_Cursor)
        at = _EPOCH + timedelta(microseconds=cursor.microseconds)
    except (UnicodeError, binascii.Error, msgspec.DecodeError, OverflowError):
        raise problems.detail(404, "Invalid cursor") from None
    if cursor.listing != listing or not _ID.fullmatch(cursor.id):
        raise problems.detail(404, "Invalid cursor")
    return Seek(step=cursor.step, at=at, id=cursor.id)


def write_cursor(place: Seek, *, listing: str) -> str:
    """The cursor that means `place`."""
    microseconds = (place.at - _EPOCH) // timedelta(microseconds=1)
    raw = msgspec.json.encode(_Cursor(listing=listing, step=place.step, microseconds=microseconds, id=place.id))
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def links(request: Request[Any, Any, Any], page: Page[T], *, listing: str) -> tuple[str | None, str | None]:
    """Absolute addresses of the next and the previous page: the request's own, with another cursor."""
    kept = [(name, value) for name, value in pairs(request) if name != "cursor"]

    def link(place: Seek | None) -> str | None:
        if place is None:
            return None
        return f"{address(request)}?{urlencode([*kept, ('cursor', write_cursor(place, listing=listing))])}"

    return link(page.next), link(page.previous)


def address(request: Request[Any, Any, Any]) -> str:
    """Scheme, host and path of the request, as the client wrote them."""
    host = request.headers.get("host")
    if not host:
        name, port = request.scope["server"] or ("localhost", None)
        host = f"{name}:{port}" if port else name
    return f"{request.scope['scheme']}://{host}{quote(request.scope['path'])}"
