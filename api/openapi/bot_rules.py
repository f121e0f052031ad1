"""``/bot_rules`` and the yes or no for single events as OpenAPI tells them. Pure."""

from typing import get_args

import msgspec

from api import records
from api.openapi.parts import NO_NUL, Json, described, json, metadata, objects, one, own, parameter
from calendar_pipeline.bots import options, rules
from calendar_pipeline.settings import Settings


def paths(base: str) -> Json:
    """Paths and their operations."""
    kept = {"200": json("BotRules", "Upcoming events are judged by them from now on.")}
    said = {"200": json("BotOverride")}
    return {
        f"{base}/bot_rules": {
            "get": own("getBotRules", "Which meetings get a bot by rules", {"200": json("BotRules")}, 404),
            "put": own("putBotRules", "Have bots made and cancelled by these rules", kept, body="PutBotRules"),
            "delete": own(
                "deleteBotRules",
                "Forget the rules; the bots that they made are cancelled",
                {"200": described("Forgotten.")},
                404,
            ),
        },
        f"{base}/calendar_events/{{event_id}}/bot_override": {
            "parameters": [parameter("event_id", "path", {"type": "string"}, "The event's id.")],
            "get": own("getBotOverride", "What was said for one event", said, 404),
            "put": own(
                "putBotOverride",
                "Say whether a bot joins one event, whatever the rules say",
                said,
                404,
                body="PutBotOverride",
            ),
        },
    }


def schemas(settings: Settings) -> Json:
    """Schemas that the paths name."""
    _, conditions = msgspec.json.schema_components([rules.Policy], ref_template="#/components/schemas/{name}")
    for domain_or_hour in (conditions["Policy"]["properties"]["own_domains"]["items"], *_hours(conditions)):
        domain_or_hour["pattern"] = domain_or_hour["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    conditions["Policy"]["description"] = (
        "What an event must be for a bot to be wanted: all of it. One condition at least."
    )
    for texts in ("title_contains", "title_excludes"):
        conditions["Policy"]["properties"][texts]["items"]["pattern"] = NO_NUL
    conditions["WorkingHours"]["properties"]["days"]["minItems"] = 1
    which: Json = {"anyOf": [{"type": "string", "enum": ["all", "none"]}, {"$ref": "#/components/schemas/Policy"}]}
    template: Json = {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_NUL},
            "metadata": metadata(settings),
            "settings": {
                "type": "object",
                "additionalProperties": False,
                "properties": options.SCHEMAS,
                "description": "As in `POST /bots`. They are kept sealed, and shown by name only.",
            },
        },
    }
    return (
        objects(records.BotRules, records.BotOverride)
        | conditions
        | {
            "PutBotRules": {
                "type": "object",
                "required": ["bot"],
                "additionalProperties": False,
                "properties": {
                    "bot": template,
                    "project": which | {"default": "none", "description": "For all calendars but those below."},
                    "calendars": {"type": "object", "additionalProperties": which, "description": "By calendar id."},
                },
            },
            "PutBotOverride": one("answer", {"type": "string", "enum": list(get_args(records.Answer))})
            | {"additionalProperties": False},
        }
    )


def _hours(conditions: Json) -> list[Json]:
    return [conditions["WorkingHours"]["properties"][name] for name in ("from", "to")]
