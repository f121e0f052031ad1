"""``/connect_links`` as OpenAPI tells it; the pages below ``/connect`` are for browsers. Pure."""

from api.openapi.parts import INSTANT, LINK, TEXT, Json, json, metadata, operation
from calendar_pipeline.calendars.model import PLATFORMS
from calendar_pipeline.settings import Settings


def paths(base: str) -> Json:
    """Paths and their operations."""
    made = {"201": json("ConnectLink", "Send this person's browser there, once, within ten minutes.")}
    return {
        f"{base}/connect_links": {
            "post": operation(
                "createConnectLink",
                "A one-time link with which a person connects or reconnects a calendar",
                made,
                400,
                409,
                body="CreateConnectLink",
            )
        }
    }


def schemas(settings: Settings) -> Json:
    """Schemas that the paths name."""
    link: Json = {
        "type": "object",
        "required": ["url", "expires_at"],
        "properties": {"url": {"type": "string", "format": "uri"}, "expires_at": INSTANT},
    }
    asked: Json = {
        "platform": {"type": "string", "enum": list(PLATFORMS)},
        "return_url": LINK | {"description": "One of the registered return URLs, letter for letter."},
        "state": TEXT | {"maxLength": 512, "description": "Handed back as it is: compare it in your user's session."},
        "user_label": TEXT | {"maxLength": 255, "description": "Who your user is; shown on the page."},
        "login_hint": TEXT | {"maxLength": 320, "description": "The account's e-mail address, if you know it."},
        "calendar_id": TEXT | {"maxLength": 64, "description": "Reconnect this calendar."},
        "deduplication_key": TEXT
        | {"maxLength": 1024, "description": "Reconnect the calendar that has it, or give it to the new one."},
        "metadata": metadata(settings),
    }
    return {
        "ConnectLink": link,
        "CreateConnectLink": {
            "type": "object",
            "required": ["platform", "return_url"],
            "additionalProperties": False,
            "properties": asked,
        },
    }
