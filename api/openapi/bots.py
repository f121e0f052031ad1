"""``/bots`` as OpenAPI tells it. Pure."""

from typing import cast

from api import shapes
from api.openapi.parts import INSTANT, TEXT, Json, described, json, metadata, objects, operation, page, parameter, query
from calendar_pipeline.bots import options
from calendar_pipeline.bots.model import FILTERABLE
from calendar_pipeline.settings import Settings


def paths(base: str) -> Json:
    """Paths and their operations."""
    return {
        f"{base}/bots": {"get": _list(), "post": _create()},
        f"{base}/bots/{{bot_id}}": {
            "parameters": [parameter("bot_id", "path", {"type": "string"}, "The bot's id.")],
            "get": operation("getBot", "One bot", {"200": json("Bot")}, 404),
            "patch": _patch(),
            "delete": _refusable(operation("deleteBot", "Call off a scheduled bot", {"200": described("Gone")}, 404)),
        },
        f"{base}/bots/{{bot_id}}/decisions": {
            "parameters": [parameter("bot_id", "path", {"type": "string"}, "The bot's id; it may be gone.")],
            "get": operation("listBotDecisions", "Why a bot is as it is", {"200": json("BotDecisions")}, 404),
        },
    }


def schemas(settings: Settings) -> Json:
    """Schemas that the paths name."""
    components = objects(shapes.Bot, shapes.BotEvent, shapes.BotDecisions)
    components["BotEvent"]["required"] = ["type", "created_at"]
    components["BotEvent"]["properties"]["sub_type"] = {"type": "string"}
    link = TEXT | {"description": "A link into a meeting; it is normalised."}
    changeable: Json = {
        "bot_name": TEXT | {"maxLength": 255},
        "meeting_url": link,
        "join_at": INSTANT | {"description": "Not in the past, at most three years ahead."},
        "metadata": metadata(settings),
    }
    return components | {
        "BotPage": page("Bot"),
        "CreateBot": {
            "type": "object",
            "required": ["bot_name"],
            "if": {"required": ["calendar_event_id"]},
            "then": {"properties": {"meeting_url": False, "join_at": False}},
            "else": {"required": ["meeting_url"]},
            "additionalProperties": False,
            "properties": {
                **changeable,
                "calendar_event_id": TEXT | {"description": "In place of `meeting_url` and `join_at`."},
                "deduplication_key": TEXT | {"maxLength": 1024},
                "webhooks": {**options.WEBHOOKS, "maxItems": options.MOST_WEBHOOKS},
                **options.SCHEMAS,
            },
        },
        "PatchBot": {
            "type": "object",
            "properties": {
                **changeable,
                "bot_image": options.SCHEMAS["bot_image"],
                "recording_settings": options.SCHEMAS["recording_settings"],
            },
        },
        "BotRefusal": {
            "anyOf": [
                {"$ref": f"#/components/schemas/{name}"} for name in ("Error", "FieldErrors", "NestedErrors", "Detail")
            ]
        },
        "NestedErrors": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": True,
            "description": "As `FieldErrors`, with an object of messages by key for some settings.",
        },
    }


def _list() -> Json:
    return operation(
        "listBots",
        "Bots, oldest first, 25 a page",
        {"200": json("BotPage")},
        400,
        404,
        parameters=[
            query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404."),
            query("meeting_url", {"type": "string"}, "Exactly this normalised link."),
            query("deduplication_key", {"type": "string"}, "Exactly this key."),
            query(
                "states",
                {"type": "array", "items": {"type": "string", "enum": list(FILTERABLE)}},
                "In any of these states; repeat the parameter for more.",
            ),
            query("join_at_after", INSTANT, "Joining after this instant."),
            query("join_at_before", INSTANT, "Joining before this instant."),
        ],
    )


def _create() -> Json:
    made = {"201": json("Bot", "Scheduled, or on its way if it has no time.")}
    return _refusable(operation("createBot", "Send a bot", made, 400, body="CreateBot"))


def _patch() -> Json:
    done = {"200": json("Bot", "Changed.")}
    return _refusable(operation("patchBot", "Change a bot", done, 400, 404, body="PatchBot"))


def _refusable(told: Json) -> Json:
    """With all the shapes that a refusal of a bot has."""
    cast(Json, told["responses"])["400"] = json("BotRefusal", "The request is refused.")
    return told
