"""The OpenAPI 3.1 document, a module for each group of paths. Pure.

Object schemas come from the very types that answers are encoded from; paths, parameters and errors are told by hand,
since that is what clients switch on. Tests hold it against the routes and against real answers.
"""

from typing import cast

from api.openapi import (
    api_keys,
    bot_rules,
    bots,
    calendar_events,
    calendars,
    connect,
    event_versions,
    examples,
    parts,
    refusals,
    webhooks,
)
from api.openapi.parts import Json
from calendar_pipeline.projects.model import SCOPES
from calendar_pipeline.settings import Settings

DESCRIPTION = f"""Followed calendars, their events, and bots that join them.

**Keys.** `Authorization: Token <key>`; `Bearer` works as well. A key has scopes: {", ".join(f"`{s}`" for s in SCOPES)}.

**Bodies** are JSON. The paths that Attendee has read forms as well, in which objects and lists are JSON texts.

**Instants** are UTC with `Z`; fractions of a second are left out when zero.

**Errors.** Paths that Attendee has as well answer `detail`, `error`, messages by field, or `non_field_errors`. Our own
paths answer problem+json (RFC 9457) and refuse unknown query parameters.

**Repeating a POST.** Send an `Idempotency-Key`: within a day the same request with the same key is done once and
answered again.
"""

GROUPS = {
    "Calendars": calendars,
    "Calendar events": calendar_events,
    "Event history": event_versions,
    "Bots": bots,
    "Rules for bots": bot_rules,
    "Webhooks": webhooks,
    "Connecting": connect,
    "Keys and audit": api_keys,
}
"""A module for each group of paths, by its heading."""

METHODS = ("get", "post", "put", "patch", "delete")


def document(settings: Settings, *, version: str, base: str) -> Json:
    """The whole document; limits are those of `settings`."""
    paths: Json = {}
    schemas: Json = {}
    for heading, group in GROUPS.items():
        for path, item in group.paths(base).items():
            for method in METHODS:
                if method in item:
                    complete(item[method], method=method, tag=heading)
                    link(item[method])
            paths[path] = item
        schemas |= group.schemas(settings)
    for item in paths.values():
        names = [parameter["name"] for parameter in item.get("parameters", [])]
        for method in METHODS:
            if method in item:
                needed = require(item[method], schemas)
                refusals.give(item[method], names=names, field=next(iter(needed), None))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Calendar Pipeline", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": heading} for heading in GROUPS],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token <key>`",
                }
            },
            "schemas": schemas | parts.refusals(),
            "headers": HEADERS,
        },
    }


HEADERS: Json = {
    "RequestId": {"description": "Names this request in logs and in the audit log.", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds until it is worth trying again.", "schema": {"type": "integer"}},
    "Authenticate": {"description": "`Token`", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that there are.", "schema": {"type": "string"}},
    "Replayed": {
        "description": "`true`: this is the answer of before, for the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_OF_STATUS = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}
_NAMES = {"WWW-Authenticate": "Authenticate", "Retry-After": "RetryAfter"}


def complete(told: Json, *, method: str, tag: str) -> None:
    """Add what holds for every operation: its group, scopes and limits, idempotency, headers."""
    told["tags"] = [tag]
    refused = parts.problem if told.pop("x-own", False) else _detail
    answers = cast(Json, told["responses"])
    also = (403, 429, 409, 422) if method == "post" else (403, 429)
    for status in also:
        if str(status) not in answers:
            answers[str(status)] = refused(status)
        elif refused is _detail:
            answers[str(status)] = parts.json("ErrorOrDetail", parts.REASONS[status])
    if method == "post":
        told["parameters"] = [*cast(list[Json], told.get("parameters", [])), IDEMPOTENCY_KEY]
    for status, answer in answers.items():
        headers: Json = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
        if name := _OF_STATUS.get(status):
            headers[name] = {"$ref": f"#/components/headers/{_NAMES.get(name, name)}"}
        if method == "post" and int(status) < 500:
            headers["Idempotent-Replayed"] = {"$ref": "#/components/headers/Replayed"}
        answer["headers"] = headers
    told["responses"] = dict(sorted(answers.items()))
    examples.give(told)


def require(told: Json, schemas: Json) -> list[str]:
    """Say whether an operation's body may be left out; the fields that it needs."""
    body = told.get("requestBody")
    if body is None:
        return []
    reference: str = body["content"]["application/json"]["schema"]["$ref"]
    needed: list[str] = schemas[reference.rsplit("/", 1)[1]].get("required", [])
    body["required"] = bool(needed)
    return needed


LINKS = {
    "createCalendar": (
        "201",
        "calendar_id",
        "id",
        ("getCalendar", "patchCalendar", "getCalendarStatus", "syncCalendar"),
    ),
    "createBot": ("201", "bot_id", "id", ("getBot", "patchBot", "deleteBot", "listBotDecisions")),
    "createWebhook": ("201", "webhook_id", "id", ("getWebhook", "patchWebhook", "testWebhook", "deleteWebhook")),
    "createApiKey": ("201", "key_id", "id", ("revokeApiKey",)),
    "listCalendarEvents": ("200", "event_id", "results/0/id", ("getCalendarEvent", "getEventHistory")),
    "listWebhookDeliveries": (
        "200",
        "delivery_id",
        "results/0/id",
        ("getWebhookDelivery", "resendWebhookDelivery"),
    ),
}
"""What an answer leads to: its status, the parameter that it gives, where that stands in it, and the operations."""


def link(told: Json) -> None:
    """Add which operations an answer's id is for."""
    if known := LINKS.get(told["operationId"]):
        status, parameter, place, operations = known
        told["responses"][status]["links"] = {
            name: {"operationId": name, "parameters": {parameter: f"$response.body#/{place}"}} for name in operations
        }


IDEMPOTENCY_KEY = parts.parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$"},
    "Any text of your own, a new one for each thing to be done, so that it is done once however often it is asked.",
)


def _detail(status: int) -> Json:
    return parts.json("Detail", parts.REASONS[status])
