"""Good answers."""

from typing import Any, TypeVar

import msgspec
from litestar import MediaType, Request, Response

from api import pagination, shapes
from calendar_pipeline.db.keyset import Page

T = TypeVar("T")


def json(value: object, *, status: int = 200) -> Response[bytes]:
    """`value` as JSON. It is encoded here, in the handler's thread, and not on the event loop."""
    return Response(content=msgspec.json.encode(value), status_code=status, media_type=MediaType.JSON)


def empty() -> Response[bytes]:
    """Done, and nothing to say: status 200 without a body."""
    return Response(content=b"", status_code=200, media_type=MediaType.JSON)


def page(request: Request[Any, Any, Any], results: list[T], found: Page[Any], *, listing: str) -> Response[bytes]:
    """One page of a listing with the links around it."""
    following, previous = pagination.links(request, found, listing=listing)
    return json(shapes.Page(next=following, previous=previous, results=results))
