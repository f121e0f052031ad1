"""An example of every refusal, by status, in the shape that its path has. Pure."""

from http import HTTPStatus

from api.openapi.parts import Json

TEXTS = {
    401: "Missing Authorization header",
    403: "This API key lacks the scope bots:write: use one that has it.",
    405: 'Method "PUT" not allowed.',
    406: "Could not satisfy the request Accept header.",
    409: "A request with this Idempotency-Key is being answered.",
    410: "Changes behind the cursor are not kept any more. Begin anew.",
    413: "Request body is too large.",
    415: 'Unsupported media type "text/plain" in request.',
    422: "This Idempotency-Key was used for another request: take a new key for each.",
    429: "Request was throttled. Expected available in 7 seconds.",
    500: "Internal server error.",
    503: "The database is not available. Try again shortly.",
}
_RESYNC = "1. Ask for start=now and keep its next_cursor. 2. Read all of /calendar_events …"
_CURSOR = "The cursor is damaged or of another listing: use next_cursor as it was given."
_NO_QUERY = "Unknown query parameter. This path takes none."
_NO_JSON = "JSON parse error - Expecting value: line 1 column 1 (char 0)"
_NO_STATE = "Bot is in state joining but can only be deleted when in scheduled state"
_QUERY = "Invalid start_time_gte format. Use ISO 8601 format (e.g., 2025-01-13T10:30:00Z)"
_REQUIRED = ["This field is required."]
_NO_KEY = ["Metadata must have at least one key"]
_MISSING = {
    "calendar_id": ("Calendar not found", "There is no such calendar in this project."),
    "bot_id": ("Bot not found", "Bot not found"),
    "event_id": ("There is no such event in this project.",) * 2,
    "webhook_id": ("Webhook not found",) * 2,
    "delivery_id": ("Delivery not found",) * 2,
    "key_id": ("There is no such key in this project.",) * 2,
}
"""By what the path names: what is said where Attendee has the path as well, and on our own."""


def give(told: Json, *, names: list[str], field: str | None) -> None:
    """Put the examples into an operation; its path names things by `names`, and its body needs `field`."""
    for status, answer in told["responses"].items():
        for media, kind in answer.get("content", {}).items() if int(status) >= 400 else ():
            schema = kind["schema"]["$ref"].rsplit("/", 1)[1]
            if schema == "Problem":
                example = _own(told, int(status), names, field)
            else:
                example = _compatible(told, int(status), names, field, schema)
            answer["content"] = {media: kind | {"example": example}}


def _compatible(told: Json, status: int, names: list[str], field: str | None, schema: str) -> Json:
    match schema, status:
        case "Error", 400:
            return {"error": _QUERY}
        case "Error", _:
            return {"error": _MISSING[names[0]][0]}
        case "Detail", 404:
            return {"detail": "Invalid cursor"}
        case (("Detail" | "ErrorOrDetail"), _):
            return {"detail": TEXTS[status]}
        case _ if "requestBody" not in told:
            return {"error": _NO_STATE}
        case _:
            return {field: _REQUIRED} if field else {"metadata": _NO_KEY}


def _own(told: Json, status: int, names: list[str], field: str | None) -> Json:
    """As `problems.standard` writes it."""
    body: Json = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    match status:
        case 400 if field:
            return body | {"detail": f"Wrong in the body: {field}.", "errors": {field: _REQUIRED}}
        case 400:
            is_paged = any(parameter["name"] == "cursor" for parameter in told.get("parameters", []))
            return body | {"detail": _NO_JSON if "requestBody" in told else _CURSOR if is_paged else _NO_QUERY}
        case 404:
            return body | {"detail": _MISSING[names[0]][1] if names else "There is no such cursor in this project."}
        case 410:
            return body | {"detail": TEXTS[status], "code": "cursor_expired", "resync": _RESYNC}
        case _:
            return body | {"detail": TEXTS[status]}
