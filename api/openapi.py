"""The OpenAPI 3.1 document. Pure.

Object schemas come from the very types that answers are encoded from; paths, parameters and errors are told by hand,
since that is what clients switch on. Tests hold it against the routes and against real answers.
"""

from typing import Any

import msgspec

from api import shapes
from calendar_pipeline.calendars.model import PLATFORMS
from calendar_pipeline.history.read import ORDERINGS
from calendar_pipeline.settings import Settings

Json = dict[str, Any]

DESCRIPTION = (
    "Followed calendars and their events. Keys: `Authorization: Token <key>`. "
    "Instants are UTC with `Z`; fractions of a second are left out when zero."
)


def document(settings: Settings, *, version: str, base: str) -> Json:
    """The whole document; limits are those of `settings`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Calendar Pipeline", "version": version, "description": DESCRIPTION},
        "security": [{"token": []}],
        "paths": {
            f"{base}/calendars": {"get": _list_calendars(), "post": _create_calendar()},
            f"{base}/calendars/{{calendar_id}}": {
                "parameters": [_parameter("calendar_id", "path", {"type": "string"}, "The calendar's id.")],
                "get": _operation("getCalendar", "One calendar", {"200": _json("Calendar")}, 404),
                "patch": _patch_calendar(),
                "delete": _operation("deleteCalendar", "Forget a calendar", {"200": _described("Gone")}, 404),
            },
            f"{base}/calendar_events": {"get": _list_events()},
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token <key>`",
                }
            },
            "schemas": _schemas(settings),
        },
    }


def _list_calendars() -> Json:
    return _operation(
        "listCalendars",
        "Calendars, newest first, 25 a page",
        {"200": _json("CalendarPage")},
        404,
        parameters=[
            _query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404."),
            _query("deduplication_key", {"type": "string"}, "Exactly this key."),
        ],
    )


def _create_calendar() -> Json:
    made = {"201": _json("Calendar", "Followed. The first sync starts at once.")}
    return _operation("createCalendar", "Follow a calendar", made, 400, body="CreateCalendar")


def _patch_calendar() -> Json:
    done = {"200": _json("Calendar", "Changed. A sync starts at once.")}
    return _operation("patchCalendar", "Change credentials or metadata", done, 400, 404, body="PatchCalendar")


def _list_events() -> Json:
    instant: Json = {"type": "string", "format": "date-time"}
    return _operation(
        "listCalendarEvents",
        "Events of all calendars, deleted ones too, 100 a page",
        {"200": _json("CalendarEventPage")},
        400,
        404,
        parameters=[
            _query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404."),
            _query("calendar_id", {"type": "string"}, "Events of this calendar."),
            _query("calendar_deduplication_key", {"type": "string"}, "Events of the calendar with this key."),
            _query("event_id", {"type": "string"}, "Exactly this event."),
            _query("updated_at_gte", instant, "Changed at this instant or later."),
            _query("updated_after", instant, "The same; ignored beside `updated_at_gte`.") | {"deprecated": True},
            _query("start_time_gte", instant, "Starting at this instant or later."),
            _query("end_time_lte", instant, "Ending at this instant or earlier."),
            _query("ordering", {"type": "string", "enum": list(ORDERINGS), "default": ORDERINGS[0]}, "By what."),
        ],
    )


def _operation(
    name: str, summary: str, good: Json, *statuses: int, parameters: list[Json] | None = None, body: str | None = None
) -> Json:
    always = {401: "Detail", 405: "Detail", 406: "Detail", 500: "Detail", 503: "Detail"}
    also = {400: "Refusal", 413: "Detail", 415: "Detail"} if body else {}
    wrong: dict[int, str] = {status: "Error" for status in statuses if status not in also} | also | always
    if parameters:
        wrong[404] = "Detail"  # listings know no other 404 than that of a bad cursor
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "responses": good | {str(status): _json(wrong[status], _REASONS[status]) for status in sorted(wrong)},
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        reference = {"schema": {"$ref": f"#/components/schemas/{body}"}}
        kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(kinds, reference)}
    return operation


_REASONS = {
    400: "The request is refused.",
    401: "No key, or none of ours. `WWW-Authenticate: Token` is sent.",
    404: "There is no such thing here, or the cursor is bad.",
    405: "The path has no such method. `Allow` tells which it has.",
    406: "`Accept` excludes JSON.",
    413: "The body is larger than 1 MiB.",
    415: "The body's type is not read.",
    500: "Our fault.",
    503: "Not available just now.",
}


def _schemas(settings: Settings) -> Json:
    _, components = msgspec.json.schema_components(
        [shapes.Calendar, shapes.CalendarEvent], ref_template="#/components/schemas/{name}"
    )
    for schema in components.values():
        schema["required"] = list(schema["properties"])
        schema.pop("additionalProperties", None)
    failure = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "timestamp": {"type": "string"}},
        "required": ["error", "timestamp"],
    }
    components["Calendar"]["properties"]["connection_failure_data"] = {"anyOf": [failure, {"type": "null"}]}
    text: Json = {"type": "string", "minLength": 1}
    values: Json = {"type": "string"} if settings.require_string_values_in_metadata else {}
    metadata: Json = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": values,
        "description": f"At most {settings.max_metadata_length} characters as JSON text.",
    }
    messages: Json = {"type": "array", "items": {"type": "string"}}
    changeable: Json = {"client_secret": text, "refresh_token": text, "metadata": metadata}
    return components | {
        "CalendarPage": _page("Calendar"),
        "CalendarEventPage": _page("CalendarEvent"),
        "CreateCalendar": {
            "type": "object",
            "required": ["platform", "client_id", "client_secret", "refresh_token"],
            "additionalProperties": False,
            "properties": {
                "platform": {"type": "string", "enum": list(PLATFORMS)},
                "client_id": text | {"maxLength": 255},
                **changeable,
                "platform_uuid": text | {"maxLength": 1024},
                "deduplication_key": text | {"maxLength": 1024},
            },
        },
        "PatchCalendar": {"type": "object", "additionalProperties": False, "properties": changeable},
        "Detail": _one("detail", {"type": "string"}),
        "Error": _one("error", {"type": "string"}),
        "FieldErrors": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": messages,
            "description": "Messages by field, or under `non_field_errors` for the body as a whole.",
        },
        "Refusal": {"anyOf": [{"$ref": "#/components/schemas/FieldErrors"}, {"$ref": "#/components/schemas/Detail"}]},
    }


def _page(item: str) -> Json:
    link: Json = {"type": ["string", "null"], "format": "uri"}
    return {
        "type": "object",
        "required": ["next", "previous", "results"],
        "properties": {
            "next": link,
            "previous": link,
            "results": {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}},
        },
    }


def _one(name: str, schema: Json) -> Json:
    return {"type": "object", "required": [name], "properties": {name: schema}}


def _json(schema: str, description: str = "As asked.") -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _described(description: str) -> Json:
    return {"description": description}


def _query(name: str, schema: Json, description: str) -> Json:
    return _parameter(name, "query", schema, description)


def _parameter(name: str, place: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}
