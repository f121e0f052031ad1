"""The pieces that every path's description is made of. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from calendar_pipeline.settings import Settings

Json = dict[str, Any]

BLANK = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space as Python trims it; ``\\s`` is not the same in any two languages."""
SOMETHING = rf"^[^\x00]*[^\x00{BLANK}][^\x00]*$"
"""What a text holds: more than white space, and no NUL."""
NO_NUL = r"^[^\x00]*$"
TEXT: Json = {"type": ["string", "number"], "minLength": 1, "pattern": SOMETHING}
"""A text; a number is written out as one."""
LINK: Json = {"type": "string", "minLength": 1, "format": "uri"}
INSTANT: Json = {"type": "string", "format": "date-time"}


def operation(
    name: str, summary: str, good: Json, *statuses: int, parameters: list[Json] | None = None, body: str | None = None
) -> Json:
    """An operation with its good answers and the refusals that every one of its kind can meet."""
    always = {401: "Detail", 405: "Detail", 406: "Detail", 500: "Detail", 503: "Detail"}
    also = {400: "Refusal", 413: "Detail", 415: "Detail"} if body else {}
    wrong: dict[int, str] = {status: "Error" for status in statuses if status not in also} | also | always
    if parameters:
        wrong[404] = "Detail"  # listings know no other 404 than that of a bad cursor
    told: Json = {
        "operationId": name,
        "summary": summary,
        "responses": good | {str(status): json(wrong[status], REASONS[status]) for status in sorted(wrong)},
    }
    if parameters:
        told["parameters"] = parameters
    if body:
        reference = {"schema": {"$ref": f"#/components/schemas/{body}"}}
        told["requestBody"] = {"content": {"application/json": reference}}
    return told


def own(
    name: str, summary: str, good: Json, *statuses: int, parameters: list[Json] | None = None, body: str | None = None
) -> Json:
    """An operation on a path of our own: it takes no other query parameters, and every refusal is problem+json."""
    told = operation(name, summary, good, 400, *statuses, parameters=parameters, body=body)
    if 404 not in statuses:
        told["responses"].pop("404", None)
    for status in told["responses"]:
        if status not in good:
            told["responses"][status] = problem(int(status))
    told["x-own"] = True
    return told


def problem(status: int) -> Json:
    """A refusal on a path of our own."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": REASONS[status], "content": content}


REASONS = {
    400: "The request is refused.",
    401: "No key, or none of ours. `WWW-Authenticate: Token` is sent.",
    403: "The key lacks the scope that this needs.",
    404: "There is no such thing here, or the cursor is bad.",
    405: "The path has no such method. `Allow` tells which it has.",
    406: "`Accept` excludes JSON.",
    409: "It cannot be done as things are.",
    410: "Not kept any more: the cursor's place, and `resync` says how to begin anew; or the instant.",
    413: "The body is larger than 1 MiB.",
    415: "The body's type is not read.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests. `Retry-After` says when to come back.",
    500: "Our fault.",
    503: "Not available just now.",
}


def page(item: str) -> Json:
    """A page of `item`, as every listing answers."""
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


def choice(values: Sequence[str]) -> Json:
    """One of `values`, with names for them in generated clients, which could not make good ones of ``-`` and ``:``."""
    return {"type": "string", "enum": list(values), "x-enum-varnames": [_constant(value) for value in values]}


def _constant(value: str) -> str:
    if value.startswith("-"):
        return f"{_constant(value[1:])}_DESCENDING"
    return "EVERYTHING" if value == "*" else value.replace(":", "_").upper()


def one(name: str, schema: Json) -> Json:
    """An object of one required key."""
    return {"type": "object", "required": [name], "properties": {name: schema}}


def json(schema: str, description: str = "As asked.") -> Json:
    """An answer with a JSON body."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def described(description: str) -> Json:
    """An answer without a body."""
    return {"description": description}


def query(name: str, schema: Json, description: str) -> Json:
    """A query parameter."""
    return parameter(name, "query", schema, description)


def parameter(name: str, place: str, schema: Json, description: str) -> Json:
    """A parameter; those in the path are required."""
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


def objects(*types: type) -> Json:
    """Schemas of answer types, from the very types that answers are encoded from: every field is always there."""
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        schema["required"] = list(schema["properties"])
        schema.pop("additionalProperties", None)
    return components


def metadata(settings: Settings) -> Json:
    """The client's own small object."""
    text: Json = {"type": "string", "pattern": NO_NUL}
    values: Json = text if settings.require_string_values_in_metadata else {}
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": NO_NUL},
        "additionalProperties": values,
        "description": f"At most {settings.max_metadata_length} characters as JSON text.",
    }


def refusals() -> Json:
    """Schemas of the shapes that errors have."""
    messages: Json = {"type": "array", "items": {"type": "string"}}
    standard: Json = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong and what to do."},
            "code": {"type": "string", "description": "For programs; `cursor_expired` or `not_kept` with 410."},
            "resync": {"type": "string", "description": "How to begin anew; with `cursor_expired`."},
            "errors": {"type": "object", "additionalProperties": messages, "description": "Messages by field."},
        },
    }
    return {
        "Problem": standard,
        "Detail": one("detail", {"type": "string"}),
        "Error": one("error", {"type": "string"}),
        "ErrorOrDetail": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Error", "Detail")]},
        "FieldErrors": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": messages,
            "description": "Messages by field, or under `non_field_errors` for the body as a whole.",
        },
        "Refusal": {"anyOf": [{"$ref": "#/components/schemas/FieldErrors"}, {"$ref": "#/components/schemas/Detail"}]},
    }
