"""How a calendar fares, and syncing it now. Paths of our own."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from api import auth, identifiers, methods, own, problems, records, responses, services
from calendar_pipeline.calendars import status
from calendar_pipeline.errors import NotFound

STATUS_PATH = "/calendars/{calendar_id:str}/status"
SYNC_PATH = "/calendars/{calendar_id:str}/sync"


@get(STATUS_PATH, sync_to_thread=True, opt={auth.SCOPE: "calendars:read"})
def get_calendar_status(request: Request[Any, Any, Any], calendar_id: FromPath[str]) -> Response[bytes]:
    """State and its reason, freshness, what is held, the last syncs, the push channel."""
    own.parameters(request)
    service = services.of(request)
    try:
        with service.db.single() as conn:
            row = status.status(conn, auth.project_id(request), identifiers.known(calendar_id, "cal"))
    except NotFound:
        raise _not_found() from None
    return responses.json(records.status(row, now=service.clock()))


@post(SYNC_PATH, sync_to_thread=True, status_code=202, opt={auth.SCOPE: "calendars:write"})
def sync_calendar(request: Request[Any, Any, Any], calendar_id: FromPath[str]) -> Response[bytes]:
    """Ask for a sync at once. The answer does not wait for it: the status tells when it is done."""
    own.parameters(request)
    service = services.of(request)
    try:
        with service.db.begin() as conn:
            asked = status.request_sync(
                conn, auth.project_id(request), identifiers.known(calendar_id, "cal"), now=service.clock()
            )
    except NotFound:
        raise _not_found() from None
    told = records.SyncRequested(
        calendar_id=calendar_id, requested_generation=asked.requested_gen, synced_generation=asked.synced_gen
    )
    return responses.json(told, status=202)


def _not_found() -> problems.Problem:
    return problems.error(404, "There is no such calendar in this project.")


HANDLERS = [
    methods.others(STATUS_PATH, methods.READ_ONLY),
    methods.others(SYNC_PATH, methods.ACTION),
    get_calendar_status,
    sync_calendar,
]
