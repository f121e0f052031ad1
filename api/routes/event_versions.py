"""Paths of our own over the record: an event in full, its versions, a calendar as of an instant, the change feed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from api import auth, identifiers, methods, own, positions, problems, records, responses, services, shapes, timestamps
from api.positions import Position
from calendar_pipeline.bots import store as bots
from calendar_pipeline.errors import NotFound
from calendar_pipeline.history import versions

EVENT_PATH = "/calendar_events/{event_id:str}"
HISTORY_PATH = "/calendar_events/{event_id:str}/history"
AS_OF_PATH = "/calendar_events_as_of"
FEED_PATH = "/event_changes"

RESYNC = (
    "1. Ask for start=now and keep its next_cursor. 2. Read all of /calendar_events, following next, and replace your "
    "copy by it. 3. Go on from the cursor of step 1."
)

READ = {auth.SCOPE: "events:read"}
SETTLED = {auth.SCOPE: "events:read", auth.SETTLED: True}


@get(EVENT_PATH, sync_to_thread=True, opt=READ)
def get_calendar_event(request: Request[Any, Any, Any], event_id: FromPath[str]) -> Response[bytes]:
    """One event with every field that is kept of it."""
    own.parameters(request)
    try:
        with services.of(request).db.single() as conn:
            row = versions.details(conn, auth.project_id(request), identifiers.known(event_id, "evt"))
            theirs = bots.of_events(conn, [row.id]).get(row.id, ())
    except NotFound:
        raise _no_event() from None
    return responses.json(records.details(row, bots=[shapes.bot(bot) for bot in theirs]))


@get(HISTORY_PATH, sync_to_thread=True, opt=READ)
def get_event_history(request: Request[Any, Any, Any], event_id: FromPath[str]) -> Response[bytes]:
    """The event's versions, oldest first."""
    query = own.parameters(request, "cursor", "limit")
    limit = own.limit(query)
    after = 0
    try:
        event = identifiers.known(event_id, "evt")
        if "cursor" in query:
            position = positions.read(query["cursor"], listing="history")
            if position.of != event:
                raise problems.error(400, "The cursor is of another event.")
            after = positions.number(position)
        with services.of(request).db.single() as conn:
            rows = versions.of_event(conn, auth.project_id(request), event, after=after, limit=limit + 1)
        if not rows and not after:
            raise NotFound(event)
    except NotFound:
        raise _no_event() from None
    return _page(rows, limit, [Position("history", event, row.version) for row in rows[:limit]])


@get(AS_OF_PATH, sync_to_thread=True, opt=SETTLED)
def list_events_as_of(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The events of a calendar as they were recorded at an instant. Asked again, the answer is the same."""
    query = own.parameters(request, "calendar_id", "as_of", "include_deleted", "cursor", "limit")
    limit, deleted, at = own.limit(query), own.flag(query, "include_deleted"), timestamps.optional(query, "as_of")
    if at is None:
        raise problems.error(400, "as_of is required: the instant to look back to.")
    if at > services.of(request).clock():
        raise problems.error(400, "as_of is not in the past: what will be recorded until then is not known.")
    if "calendar_id" not in query:
        raise problems.error(400, "calendar_id is required.")
    after, calendar = "", query["calendar_id"]
    of = f"{calendar} {at.isoformat()} {deleted}"
    if "cursor" in query:
        position = positions.read(query["cursor"], listing="as_of")
        if position.of != of:
            raise problems.error(400, "The cursor is of another question: repeat the other parameters as they were.")
        after = positions.event(position)
    if not identifiers.could_be(calendar, "cal"):
        return responses.json(records.Versions(results=[], has_more=False, next_cursor=None))
    project = auth.project_id(request)
    with services.of(request).db.single() as conn:
        rows = versions.as_of(conn, project, calendar, at=at, deleted=deleted, after=after, limit=limit + 1)
        kept_from = versions.kept_from(conn, project)
    if kept_from is not None and at < kept_from:
        raise _not_kept(kept_from)
    return _page(rows, limit, [Position("as_of", of, row.event_id) for row in rows[:limit]])


@get(FEED_PATH, sync_to_thread=True, opt=READ)
def list_event_changes(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Every change of every event of the project, once, in commit order, without gaps."""
    query = own.parameters(request, "cursor", "start", "limit")
    limit, project = own.limit(query), auth.project_id(request)
    start = query.get("start", "beginning")
    if start not in ("beginning", "now"):
        raise problems.error(400, "start is beginning or now.")
    if "start" in query and "cursor" in query:
        raise problems.error(400, "start and cursor exclude each other.")
    position = positions.read(query["cursor"], listing="feed") if "cursor" in query else None
    if position is not None and position.of != project:
        raise problems.error(404, "There is no such cursor in this project.")
    with services.of(request).db.single() as conn:
        head = versions.head(conn, project)
        if position is None:
            after = head.last if start == "now" else 0
        else:
            after = positions.number(position)
            if position.epoch != head.epoch or after > head.last:
                raise _gone("The database was restored since the cursor was given.")
        if after < head.floor:
            raise _gone("Changes behind the cursor are not kept any more.")
        rows = [] if start == "now" else versions.feed(conn, project, after=after, limit=limit + 1)
    told = rows[:limit]
    # Retention may have come in between; and whatever made a hole, nobody is led past it without being told.
    if [row.seq for row in told] != list(range(after + 1, after + 1 + len(told))) or (not rows and after < head.last):
        raise _gone("Changes behind the cursor are not kept any more.")
    after += len(told)
    cursor = positions.write(Position("feed", project, after, head.epoch))
    changes = records.Changes(
        results=[records.version(row) for row in told], has_more=len(rows) > limit, next_cursor=cursor
    )
    return responses.json(changes)


def _page(rows: Sequence[versions.Row], limit: int, places: list[Position]) -> Response[bytes]:
    more = len(rows) > limit
    found = records.Versions(
        results=[records.version(row) for row in rows[:limit]],
        has_more=more,
        next_cursor=positions.write(places[-1]) if more else None,
    )
    return responses.json(found)


def _no_event() -> problems.Problem:
    return problems.error(404, "There is no such event in this project.")


def _gone(why: str) -> problems.Problem:
    return problems.Problem(410, {"detail": f"{why} Begin anew.", "code": "cursor_expired", "resync": RESYNC})


def _not_kept(since: datetime) -> problems.Problem:
    told = f"The project keeps its history from {since.isoformat()} on. Ask for that instant or a later one."
    return problems.Problem(410, {"detail": told, "code": "not_kept"})


HANDLERS = [
    methods.others(EVENT_PATH, methods.READ_ONLY),
    methods.others(HISTORY_PATH, methods.READ_ONLY),
    methods.others(AS_OF_PATH, methods.READ_ONLY),
    methods.others(FEED_PATH, methods.READ_ONLY),
    get_calendar_event,
    get_event_history,
    list_events_as_of,
    list_event_changes,
]
