"""``/calendars`` as OpenAPI tells it. Pure."""

from api import records, shapes
from api.openapi.parts import TEXT, Json, described, json, metadata, objects, operation, own, page, parameter, query
from calendar_pipeline.calendars.model import PLATFORMS
from calendar_pipeline.settings import Settings


def paths(base: str) -> Json:
    """Paths and their operations."""
    return {
        f"{base}/calendars": {"get": _list(), "post": _create()},
        f"{base}/calendars/{{calendar_id}}": {
            "parameters": [parameter("calendar_id", "path", {"type": "string"}, "The calendar's id.")],
            "get": operation("getCalendar", "One calendar", {"200": json("Calendar")}, 404),
            "patch": _patch(),
            "delete": operation("deleteCalendar", "Forget a calendar", {"200": described("Gone")}, 404),
        },
        f"{base}/calendars/{{calendar_id}}/status": {
            "parameters": [parameter("calendar_id", "path", {"type": "string"}, "The calendar's id.")],
            "get": own("getCalendarStatus", "How a calendar fares, and why", {"200": json("CalendarStatus")}, 404),
        },
        f"{base}/calendars/{{calendar_id}}/sync": {
            "parameters": [parameter("calendar_id", "path", {"type": "string"}, "The calendar's id.")],
            "post": own(
                "syncCalendar",
                "Sync a calendar now",
                {"202": json("SyncRequested", "Asked for. The status tells when it is done.")},
                404,
            ),
        },
    }


def schemas(settings: Settings) -> Json:
    """Schemas that the paths name."""
    components = objects(shapes.Calendar, records.CalendarStatus, records.SyncRequested)
    failure = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "timestamp": {"type": "string"}},
        "required": ["error", "timestamp"],
    }
    components["Calendar"]["properties"]["connection_failure_data"] = {"anyOf": [failure, {"type": "null"}]}
    changeable: Json = {"client_secret": TEXT, "refresh_token": TEXT, "metadata": metadata(settings)}
    return components | {
        "CalendarPage": page("Calendar"),
        "CreateCalendar": {
            "type": "object",
            "required": ["platform", "client_id", "client_secret", "refresh_token"],
            "additionalProperties": False,
            "properties": {
                "platform": {"type": "string", "enum": list(PLATFORMS)},
                "client_id": TEXT | {"maxLength": 255},
                **changeable,
                "platform_uuid": TEXT | {"maxLength": 1024},
                "deduplication_key": TEXT | {"maxLength": 1024},
            },
        },
        "PatchCalendar": {"type": "object", "additionalProperties": False, "properties": changeable},
    }


def _list() -> Json:
    return operation(
        "listCalendars",
        "Calendars, newest first, 25 a page",
        {"200": json("CalendarPage")},
        404,
        parameters=[
            query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404."),
            query("deduplication_key", {"type": "string"}, "Exactly this key."),
        ],
    )


def _create() -> Json:
    made = {"201": json("Calendar", "Followed. The first sync starts at once.")}
    return operation("createCalendar", "Follow a calendar", made, 400, body="CreateCalendar")


def _patch() -> Json:
    done = {"200": json("Calendar", "Changed. A sync starts at once.")}
    return operation("patchCalendar", "Change credentials or metadata", done, 400, 404, body="PatchCalendar")
