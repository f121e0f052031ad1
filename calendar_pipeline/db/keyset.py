"""Keyset pagination: a page starts after a row, not after a number of rows.

Rows are ordered by an instant and then by their id, so rows with equal instants have one order too, and a walk meets
every row once, whatever is inserted or deleted meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

Step = Literal["after", "from", "before", "until"]

STEPS: tuple[Step, ...] = ("after", "from", "before", "until")

T = TypeVar("T")

Query = sa.Select[*tuple[Any, ...]]
Row = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seek:
    """A place in an ordered list of rows, and which way to read from it.

    ``after`` and ``from`` read onwards, ``before`` and ``until`` backwards; ``from`` and ``until`` include the row.
    """

    step: Step
    at: datetime
    id: str

    @property
    def is_backwards(self) -> bool:
        """Whether the page lies before this place."""
        return self.step in ("before", "until")

    @property
    def is_inclusive(self) -> bool:
        """Whether the row at this place belongs to the page."""
        return self.step in ("from", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Rows in the order asked for, and where the pages next to them start (None: there is none)."""

    rows: Sequence[T]
    next: Seek | None = None
    previous: Seek | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """By which instant, and whether the latest comes first."""

    instant: sa.Column[Any]
    id: sa.Column[Any]
    descending: bool

    def limited(self, query: Query, *, seek: Seek | None, size: int) -> Query:
        """`query` cut to the page at `seek` plus one row that tells whether there are more."""
        falling = self.descending != (seek is not None and seek.is_backwards)
        if seek is not None:
            here = sa.tuple_(self.instant, self.id)
            there = sa.tuple_(sa.literal(seek.at, self.instant.type), sa.literal(seek.id, self.id.type))
            query = query.where(_beyond(here, there, falling=falling, inclusive=seek.is_inclusive))
        if falling:
            query = query.order_by(self.instant.desc(), self.id.desc())
        else:
            query = query.order_by(self.instant.asc(), self.id.asc())
        return query.limit(size + 1)

    def page(self, found: Sequence[Row], *, seek: Seek | None, size: int) -> Page[Row]:
        """What `limited` found, as a page."""
        backwards = seek is not None and seek.is_backwards
        more = len(found) > size
        rows = found[:size][::-1] if backwards else found[:size]
        has_next, has_previous = (True, more) if backwards else (more, seek is not None)
        if not rows:
            # The rows next to this place are gone since the cursor was made; the way back includes the place itself.
            return Page(
                rows=rows,
                next=Seek(step="from", at=seek.at, id=seek.id) if seek is not None and backwards else None,
                previous=Seek(step="until", at=seek.at, id=seek.id) if seek is not None and not backwards else None,
            )
        return Page(
            rows=rows,
            next=self._place("after", rows[-1]) if has_next else None,
            previous=self._place("before", rows[0]) if has_previous else None,
        )

    def _place(self, step: Step, row: Row) -> Seek:
        return Seek(step=step, at=getattr(row, self.instant.name), id=getattr(row, self.id.name))


def _beyond(
    here: ColumnElement[Any], there: ColumnElement[Any], *, falling: bool, inclusive: bool
) -> ColumnElement[bool]:
    match falling, inclusive:
        case True, True:
            return here <= there
        case True, False:
            return here < there
        case False, True:
            return here >= there
        case _:
            return here > there
