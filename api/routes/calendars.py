"""``/calendars``: follow, list, change and forget calendars."""

from typing import Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import auth, identifiers, methods, pagination, problems, responses, services, shapes, validation
from api.body import Posted
from api.validation import Field
from calendar_pipeline.bots import store as bots
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import PLATFORMS, CalendarPatch, NewCalendar
from calendar_pipeline.errors import DuplicateKey, NotFound
from calendar_pipeline.settings import Settings

PAGE = 25
LISTING = "calendars"
PATH = "/calendars"
ITEM_PATH = "/calendars/{calendar_id:str}"


TAKEN = "A calendar with this deduplication key already exists in this project."


@get(PATH, sync_to_thread=True, opt={"scope": "calendars:read"})
def list_calendars(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page of calendars, newest first."""
    query = pagination.parameters(request)
    seek = pagination.seek(query, listing=LISTING)
    with services.of(request).db.single() as conn:
        found = calendars.page(
            conn, auth.project_id(request), size=PAGE, seek=seek, deduplication_key=query.get("deduplication_key")
        )
    return responses.page(request, [shapes.calendar(row) for row in found.rows], found, listing=LISTING)


@post(PATH, sync_to_thread=True, opt={"scope": "calendars:write"})
def create_calendar(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """Follow a calendar. Its credentials are tried by the first sync, which starts at once."""
    service = services.of(request)
    new = NewCalendar(**validation.check(posted, creation_fields(service.settings)))
    try:
        with service.db.begin() as conn:
            made = calendars.create(conn, service.keyring, auth.project_id(request), new, now=service.clock())
    except DuplicateKey:
        raise problems.fields({"deduplication_key": [TAKEN]}) from None
    return responses.json(shapes.calendar(made), status=201)


@get(ITEM_PATH, sync_to_thread=True, opt={"scope": "calendars:read"})
def get_calendar(request: Request[Any, Any, Any], calendar_id: FromPath[str]) -> Response[bytes]:
    """One calendar."""
    try:
        with services.of(request).db.single() as conn:
            found = calendars.get(conn, auth.project_id(request), identifiers.known(calendar_id, "cal"))
    except NotFound:
        raise _not_found() from None
    return responses.json(shapes.calendar(found))


@patch(ITEM_PATH, sync_to_thread=True, opt={"scope": "calendars:write"})
def patch_calendar(
    request: Request[Any, Any, Any], calendar_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Change credentials or metadata, and sync at once. The answer shows the calendar as it is before that."""
    service, project = services.of(request), auth.project_id(request)
    try:
        known = identifiers.known(calendar_id, "cal")
        try:
            change = CalendarPatch(**validation.check(posted, patch_fields(service.settings)))
        except problems.Problem:
            with service.db.single() as conn:
                calendars.get(conn, project, known)  # to whom the calendar is unknown, nothing else is said
            raise
        with service.db.begin() as conn:
            changed = calendars.patch(conn, service.keyring, project, known, change, now=service.clock())
    except NotFound:
        raise _not_found() from None
    return responses.json(shapes.calendar(changed))


@delete(ITEM_PATH, sync_to_thread=True, status_code=200, opt={"scope": "calendars:write"})
def delete_calendar(request: Request[Any, Any, Any], calendar_id: FromPath[str]) -> Response[bytes]:
    """Forget a calendar, its events and its scheduled bots."""
    project = auth.project_id(request)
    try:
        known = identifiers.known(calendar_id, "cal")
        with services.of(request).db.begin() as conn:
            bots.calendar_deleted(conn, project, known)
            calendars.delete(conn, project, known)
    except NotFound:
        raise _not_found() from None
    return responses.empty()


def creation_fields(settings: Settings) -> list[Field]:
    """What POST takes."""
    return [
        Field(name="platform", read=validation.choice(*PLATFORMS), required=True),
        Field(name="client_id", read=validation.text(longest=255), required=True),
        Field(name="client_secret", read=validation.text(), required=True),
        Field(name="refresh_token", read=validation.text(), required=True),
        Field(name="platform_uuid", read=validation.text(longest=1024)),
        validation.metadata_field(settings),
        Field(name="deduplication_key", read=validation.deduplication_key),
    ]


def patch_fields(settings: Settings) -> list[Field]:
    """What PATCH takes."""
    return [
        Field(name="client_secret", read=validation.text()),
        Field(name="refresh_token", read=validation.text()),
        validation.metadata_field(settings),
    ]


def _not_found() -> problems.Problem:
    return problems.error(404, "Calendar not found")


HANDLERS = [
    methods.others(PATH, methods.COLLECTION),
    methods.others(ITEM_PATH, methods.ITEM),
    list_calendars,
    create_calendar,
    get_calendar,
    patch_calendar,
    delete_calendar,
]
