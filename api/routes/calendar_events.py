"""``/calendar_events``: events as they are now."""

from datetime import datetime
from typing import Any

from litestar import Request, Response, get

from api import auth, methods, pagination, problems, responses, services, shapes, timestamps
from calendar_pipeline.bots import store as bots
from calendar_pipeline.history import read as history
from calendar_pipeline.history.read import ORDERINGS, Filter, Ordering

PAGE = 100
PATH = "/calendar_events"
DEFAULT_ORDERING: Ordering = "-updated_at"
END_EXAMPLE = "2025-01-13T18:00:00Z"


@get(PATH, sync_to_thread=True, opt={"scope": "events:read", "settled": True})
def list_calendar_events(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page of events of all the project's calendars, deleted events too, each with its bots."""
    query = pagination.parameters(request)
    where = filter_of(query)
    ordering = ordering_of(query)
    listing = f"calendar_events {ordering}"
    seek = pagination.seek(query, listing=listing)
    with services.of(request).db.single() as conn:
        found = history.page(conn, auth.project_id(request), where=where, ordering=ordering, size=PAGE, seek=seek)
        theirs = bots.of_events(conn, [row.id for row in found.rows])
    results = [shapes.event(row, bots=theirs.get(row.id, ())) for row in found.rows]
    return responses.page(request, results, found, listing=listing)


def filter_of(query: dict[str, str]) -> Filter:
    """The filter that the query's parameters make together; raises a 400 problem for a bad instant."""
    return Filter(
        calendar_id=query.get("calendar_id"),
        calendar_deduplication_key=query.get("calendar_deduplication_key"),
        event_id=query.get("event_id"),
        updated_at_gte=_updated_at_gte(query),
        start_time_gte=timestamps.optional(query, "start_time_gte"),
        end_time_lte=timestamps.optional(query, "end_time_lte", example=END_EXAMPLE),
    )


def ordering_of(query: dict[str, str]) -> Ordering:
    """The order asked for; raises a 400 problem."""
    given = query.get("ordering", DEFAULT_ORDERING)
    if given not in ORDERINGS:
        raise problems.error(400, f"Invalid ordering. Allowed values: {', '.join(ORDERINGS)}")
    return given


def _updated_at_gte(query: dict[str, str]) -> datetime | None:
    """``updated_at_gte``, or ``updated_after``, its old name, which counts only where the new one says nothing."""
    if given := query.get("updated_at_gte"):
        return timestamps.parameter("updated_at_gte", given)
    old = query.get("updated_after")
    return None if old is None else timestamps.parameter("updated_at_gte", old)


HANDLERS = [methods.others(PATH, methods.READ_ONLY), list_calendar_events]
