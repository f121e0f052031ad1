"""``/webhooks`` and their deliveries as OpenAPI tells them. Pure."""

from typing import get_args

from api import shapes
from api.openapi.parts import INSTANT, LINK, Json, described, json, objects, own, page, parameter, query
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks.model import DISABLED, MOST_CONCURRENCY, TRIGGERS, Content, DeliveryStatus, Ordering

_CURSOR = query("cursor", {"type": "string"}, "From `next` or `previous`; a bad one is a 404.")


def paths(base: str) -> Json:
    """Paths and their operations."""
    webhook = parameter("webhook_id", "path", {"type": "string"}, "The webhook's id.")
    delivery = parameter("delivery_id", "path", {"type": "string"}, "The delivery's id: the header `webhook-id`.")
    item = f"{base}/webhooks/{{webhook_id}}"
    sent = {"202": json("Sent", "It is due now.")}
    return {
        f"{base}/webhooks": {"get": _list(), "post": _create()},
        item: {
            "parameters": [webhook],
            "get": own("getWebhook", "One webhook", {"200": json("Webhook")}, 404),
            "patch": own(
                "patchWebhook",
                "Change, disable or enable a webhook",
                {"200": json("Webhook")},
                404,
                body="PatchWebhook",
            ),
            "delete": own(
                "deleteWebhook", "Forget a webhook, and what was and is due to it", {"200": described("Gone")}, 404
            ),
        },
        f"{item}/rotate_secret": {
            "parameters": [webhook],
            "post": own(
                "rotateWebhookSecret",
                "Give a webhook a secret of its own, or a new one; the one so far signs as well for a while",
                {"200": json("SigningSecret")},
                404,
                body="RotateSecret",
            ),
        },
        f"{item}/test": {
            "parameters": [webhook],
            "post": own("testWebhook", "Send a test event", sent, 404, body="Nothing"),
        },
        f"{item}/recover": {
            "parameters": [webhook],
            "post": own(
                "recoverWebhook",
                "Send again all that failed since an instant",
                {"202": json("Queued", "So many are due now.")},
                404,
                body="Recover",
            ),
        },
        f"{base}/webhook_secret/rotate": {
            "post": own(
                "rotateProjectSecret",
                "Give the project a new secret; the one so far signs as well for a while",
                {"200": json("SigningSecret")},
                body="RotateSecret",
            ),
        },
        f"{base}/webhook_deliveries": {"get": _deliveries()},
        f"{base}/webhook_deliveries/{{delivery_id}}": {
            "parameters": [delivery],
            "get": own(
                "getWebhookDelivery",
                "One delivery, what was sent, and each attempt",
                {"200": json("WebhookDeliveryInFull")},
                404,
            ),
        },
        f"{base}/webhook_deliveries/{{delivery_id}}/resend": {
            "parameters": [delivery],
            "post": own(
                "resendWebhookDelivery", "Send a delivery again, under the same id", sent, 404, 409, body="Nothing"
            ),
        },
    }


def schemas(settings: Settings) -> Json:
    """Schemas that the paths name."""
    schemes = "^https?://" if settings.webhook_allow_http else "^https://"
    triggers: Json = {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string", "enum": [*TRIGGERS, DISABLED]},
    }
    changeable: Json = {
        "url": LINK | {"maxLength": 2048, "pattern": schemes, "description": "https, and its host's addresses public."},
        "triggers": triggers,
        "content": {
            "type": "string",
            "enum": list(get_args(Content)),
            "description": "`changes`: the body of `calendar.events_update` holds the changes themselves as well.",
        },
        "ordering": {
            "type": "string",
            "enum": list(get_args(Ordering)),
            "description": "`calendar`: a calendar's next webhook waits until the one before has arrived.",
        },
        "concurrency": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_CONCURRENCY,
            "description": "Requests at once.",
        },
    }
    secret: Json = {
        "type": "string",
        "enum": ["project", "own"],
        "description": "With which secret it is signed; `project` unless said.",
    }
    overlap: Json = {
        "type": "integer",
        "minimum": 0,
        "maximum": 168,
        "description": "How long the secret so far signs as well; 24 unless said.",
    }
    return objects(
        shapes.Webhook,
        shapes.NewWebhook,
        shapes.SigningSecret,
        shapes.WebhookDelivery,
        shapes.WebhookDeliveryInFull,
        shapes.Queued,
        shapes.Sent,
    ) | {
        "WebhookPage": page("Webhook"),
        "WebhookDeliveryPage": page("WebhookDelivery"),
        "CreateWebhook": _body(changeable | {"secret": secret}, "url", "triggers"),
        "PatchWebhook": _body(changeable | {"enabled": {"type": "boolean"}}),
        "RotateSecret": _body({"overlap_hours": overlap}),
        "Recover": _body({"since": INSTANT}, "since"),
        "Nothing": _body({}),
    }


def _body(properties: Json, *required: str) -> Json:
    told: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    return told | {"required": list(required)} if required else told


def _list() -> Json:
    return own(
        "listWebhooks",
        "The project's webhooks, newest first, 100 a page",
        {"200": json("WebhookPage")},
        400,
        404,
        parameters=[_CURSOR, query("bot_id", {"type": "string"}, "Those of this bot instead.")],
    )


def _create() -> Json:
    made = {"201": json("NewWebhook", "Made. Its secret is shown here and never again.")}
    return own("createWebhook", "Tell an endpoint of events", made, 400, body="CreateWebhook")


def _deliveries() -> Json:
    return own(
        "listWebhookDeliveries",
        "Deliveries, newest first, 100 a page",
        {"200": json("WebhookDeliveryPage")},
        400,
        404,
        parameters=[
            _CURSOR,
            query("webhook_id", {"type": "string"}, "To this webhook."),
            query("status", {"type": "string", "enum": list(get_args(DeliveryStatus))}, "In this state."),
        ],
    )
