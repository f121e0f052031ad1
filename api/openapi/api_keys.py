"""``/api_keys`` and ``/audit_log`` as OpenAPI tells them. Pure."""

from api import records
from api.openapi.event_versions import CURSOR, LIMIT
from api.openapi.parts import INSTANT, TEXT, Json, choice, described, json, objects, own, parameter
from calendar_pipeline.projects.model import EVERYTHING, SCOPES
from calendar_pipeline.settings import Settings


def paths(base: str) -> Json:
    """Paths and their operations."""
    made = {"201": json("NewApiKey", "Made. `key` is shown this once.")}
    return {
        f"{base}/api_keys": {
            "get": own("listApiKeys", "The project's API keys, revoked ones too", {"200": json("ApiKeys")}),
            "post": own("createApiKey", "Make an API key", made, body="CreateApiKey"),
        },
        f"{base}/api_keys/{{key_id}}": {
            "parameters": [parameter("key_id", "path", {"type": "string"}, "The key's id.")],
            "delete": own("revokeApiKey", "Refuse a key from now on", {"200": described("Revoked.")}, 404),
        },
        f"{base}/audit_log": {
            "get": own(
                "listAuditLog",
                "Every write that was asked for, in order",
                {"200": json("AuditLog")},
                404,
                parameters=[CURSOR, LIMIT],
            )
        },
    }


def schemas(_: Settings) -> Json:
    """Schemas that the paths name."""
    return objects(records.ApiKeys, records.NewApiKey, records.AuditLog) | {
        "CreateApiKey": {
            "type": "object",
            "required": ["scopes"],
            "additionalProperties": False,
            "properties": {
                "name": TEXT | {"maxLength": 255, "description": "Whose or what for."},
                "scopes": {
                    "type": "array",
                    "minItems": 1,
                    "items": choice([*SCOPES, EVERYTHING]),
                    "description": "What it may do; no more than the key that makes it.",
                },
                "expires_at": INSTANT | {"description": "When it ends by itself."},
            },
        }
    }
