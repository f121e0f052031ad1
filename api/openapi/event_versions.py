"""Events in full, their versions, looking back, and the change feed, as OpenAPI tells them. Pure."""

from api import records
from api.openapi.parts import INSTANT, Json, json, objects, own, parameter, query
from api.own import MOST
from calendar_pipeline.settings import Settings

LIMIT = query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}, "How many at most.")
CURSOR = query("cursor", {"type": "string", "minLength": 1}, "`next_cursor` of the page before.")
EVENT = parameter("event_id", "path", {"type": "string"}, "The event's id.")


def paths(base: str) -> Json:
    """Paths and their operations."""
    whole = {"200": json("EventDetails")}
    history = {"200": json("Versions", "Versions, oldest first.")}
    changes = {"200": json("Changes", "Changes in commit order, each once, without gaps.")}
    return {
        f"{base}/calendar_events/{{event_id}}": {
            "parameters": [EVENT],
            "get": own("getCalendarEvent", "One event with every field that is kept of it", whole, 404),
        },
        f"{base}/calendar_events/{{event_id}}/history": {
            "parameters": [EVENT],
            "get": own("getEventHistory", "The versions of an event", history, 404, parameters=[CURSOR, LIMIT]),
        },
        f"{base}/calendar_events_as_of": {"get": _as_of()},
        f"{base}/event_changes": {
            "get": own(
                "listEventChanges",
                "Every change of every event: a feed without gaps",
                changes,
                404,
                410,
                parameters=[
                    CURSOR,
                    query(
                        "start",
                        {"type": "string", "enum": ["beginning", "now"], "default": "beginning"},
                        "Where to begin without a cursor.",
                    ),
                    LIMIT,
                ],
            )
        },
    }


def schemas(_: Settings) -> Json:
    """Schemas that the paths name."""
    return objects(records.EventDetails, records.Versions, records.Changes)


def _as_of() -> Json:
    return own(
        "listEventsAsOf",
        "The events of a calendar as they were recorded at an instant",
        {"200": json("Versions", "The last version of each event up to then.")},
        410,
        parameters=[
            query("calendar_id", {"type": "string"}, "Whose events.") | {"required": True},
            query("as_of", INSTANT, "An instant in the past.") | {"required": True},
            query("include_deleted", {"type": "boolean", "default": False}, "With those that were deleted by then."),
            CURSOR,
            LIMIT,
        ],
    )
