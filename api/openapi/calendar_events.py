"""``/calendar_events`` as OpenAPI tells it. Pure."""

from api import shapes
from api.openapi.parts import INSTANT, Json, choice, json, objects, operation, page, query
from calendar_pipeline.history.read import ORDERINGS
from calendar_pipeline.settings import Settings

_INSTANT_OR_NONE: Json = {"anyOf": [INSTANT, {"type": "string", "maxLength": 0}]}


def paths(base: str) -> Json:
    """Paths and their operations."""
    return {f"{base}/calendar_events": {"get": _list()}}


def schemas(_: Settings) -> Json:
    """Schemas that the paths name."""
    return objects(shapes.CalendarEvent) | {"CalendarEventPage": page("CalendarEvent")}


def _list() -> Json:
    return operation(
        "listCalendarEvents",
        "Events of all calendars, deleted ones too, 100 a page",
        {"200": json("CalendarEventPage")},
        400,
        404,
        parameters=[
            query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404."),
            query("calendar_id", {"type": "string"}, "Events of this calendar."),
            query("calendar_deduplication_key", {"type": "string"}, "Events of the calendar with this key."),
            query("event_id", {"type": "string"}, "Exactly this event."),
            query("updated_at_gte", _INSTANT_OR_NONE, "Changed at this instant or later; ignored if empty."),
            query("updated_after", INSTANT, "The same; ignored beside `updated_at_gte`.") | {"deprecated": True},
            query("start_time_gte", INSTANT, "Starting at this instant or later."),
            query("end_time_lte", INSTANT, "Ending at this instant or earlier."),
            query("ordering", choice(ORDERINGS) | {"default": ORDERINGS[0]}, "By what."),
        ],
    )
