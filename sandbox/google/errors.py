"""What can go wrong, and Google's words for it.

GoogleError  an answer of the Calendar API (body as in "Handle API errors")
OAuthError   an answer of the token endpoint (RFC 6749 §5.2 with Google's additions)
"""

from typing import Any

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
}


class GoogleError(Exception):
    """An error answer of the Calendar API."""

    def __init__(
        self,
        status: int,
        reason: str | None,
        message: str,
        *,
        domain: str = "global",
        location: str | None = None,
        location_type: str = "parameter",
        grpc: str | None = None,
        detail: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.retry_after = retry_after
        error: dict[str, Any] = {"domain": domain}
        if reason is not None:
            error |= {"reason": reason}
        error["message"] = message
        if location is not None:
            error |= {"locationType": location_type, "location": location}
        self.body: dict[str, Any] = {"error": {"errors": [error], "code": status, "message": message}}
        if grpc is not None:
            self.body["error"]["status"] = grpc
        if detail is not None:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail, "domain": "googleapis.com"}
            self.body["error"]["details"] = [info | {"metadata": {"service": "calendar-json.googleapis.com"}}]


class OAuthError(Exception):
    """An error answer of the token endpoint."""

    def __init__(self, status: int, error: str, description: str = "", *, subtype: str | None = None) -> None:
        super().__init__(f"{status} {error}: {description}")
        self.status = status
        self.body = {"error": error}
        if description:
            self.body["error_description"] = description
        if subtype:
            self.body["error_subtype"] = subtype


def invalid(message: str, location: str, reason: str = "invalidParameter") -> GoogleError:
    """400 about one query parameter."""
    return GoogleError(400, reason, message, location=location)


def not_found() -> GoogleError:
    """404: gone, never there, or not visible to this account. Google doesn't tell which."""
    return GoogleError(404, "notFound", "Not Found")


def bad_credentials() -> GoogleError:
    """401: no access token, an unknown one or an expired one."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    error = GoogleError(
        401,
        "authError",
        "Invalid Credentials",
        location="Authorization",
        location_type="header",
        grpc=_STATUS[401],
    )
    error.body["error"]["message"] = message
    return error


def gone(*, with_reason: bool = True) -> GoogleError:
    """410: the sync token is no longer valid. Some of these lack `fullSyncRequired`."""
    message = "Sync token is no longer valid, a full sync is required."
    if with_reason:
        return GoogleError(410, "fullSyncRequired", message, domain="calendar", location="syncToken")
    return GoogleError(410, None, message, domain="calendar")


def bad_sync_token() -> GoogleError:
    """400: garbage, or another calendar's token."""
    return invalid("Invalid sync token value.", "syncToken", reason="invalid")
