"""Reading a listing page by page. Pure but for the reading itself, which is handed in.

A listing is all of its pages or nothing. Short and empty pages are allowed, endless ones are not. A provider may forget
a listing half-way; it is then begun anew once, and after that left for later with the cursor as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from calendar_pipeline.errors import AccessRevoked, ContractBroken, CursorExpired, PageRefused, TryLater
from calendar_pipeline.providers.json_values import Json

MAX_EMPTY_PAGES = 20
"""More pages in a row without an item are an endless loop, not a calendar."""

MAX_ITEMS = 50_000
"""More events than this in one window are no one's calendar."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came, and where the next one is; None on the last."""

    body: Json
    next: str | None


T = TypeVar("T")


def listing(read: Callable[[str | None], Page], take: Callable[[Page], Sequence[T]]) -> tuple[list[T], Page]:
    """The items of all pages, and the last page; `read(None)` gives the first.

    Raises PageRefused if a next page is refused twice, and whatever the first page is refused with.
    """
    try:
        return _walk(read, take)
    except PageRefused:
        return _walk(read, take)


def _walk(read: Callable[[str | None], Page], take: Callable[[Page], Sequence[T]]) -> tuple[list[T], Page]:
    items: list[T] = []
    at: str | None = None
    empty = 0
    while True:
        page = _read(read, at)
        found = take(page)
        items.extend(found)
        if page.next is None:
            return items, page
        empty = 0 if found else empty + 1
        if empty > MAX_EMPTY_PAGES or len(items) > MAX_ITEMS:
            raise TryLater("endless_pages")
        at = page.next


def _read(read: Callable[[str | None], Page], at: str | None) -> Page:
    try:
        return read(at)
    except (AccessRevoked, ContractBroken, CursorExpired) as refused:
        if at is None:
            raise
        # What is really wrong, if anything, the first page says when it is asked for again.
        raise PageRefused(f"page_refused:{refused.code}") from None
