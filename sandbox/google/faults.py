"""Google's failures: which there are, and what each answers."""

from collections.abc import Callable

from sandbox.faults import SPOILS, Fault, Kinds
from sandbox.google import errors
from sandbox.google.errors import GoogleError, OAuthError

TOKEN: dict[str, tuple[int, str, str, str | None]] = {
    "invalid_grant": (400, "invalid_grant", "Token has been expired or revoked.", None),
    "invalid_grant_bad_request": (400, "invalid_grant", "Bad Request", None),
    "account_deleted": (400, "invalid_grant", "Account has been deleted", None),
    "invalid_rapt": (400, "invalid_grant", "reauth related error (invalid_rapt)", "invalid_rapt"),
    "client_not_found": (401, "invalid_client", "The OAuth client was not found.", None),
    "invalid_client": (401, "invalid_client", "Unauthorized", None),
    "invalid_secret": (401, "invalid_client", "The provided client secret is invalid.", None),
    "deleted_client": (401, "deleted_client", "The OAuth client was deleted.", None),
    "unauthorized_client": (401, "unauthorized_client", "Unauthorized", None),
    "unauthorized_client_400": (400, "unauthorized_client", "Unauthorized", None),
    "unsupported_grant_type": (400, "unsupported_grant_type", "Invalid grant_type", None),
    "invalid_request": (400, "invalid_request", "Bad Request", None),
    "invalid_scope": (400, "invalid_scope", "Some requested scopes were invalid.", None),
    "admin_policy_enforced": (400, "admin_policy_enforced", "Access blocked by the administrator's policy.", None),
    "org_internal": (403, "org_internal", "This client is restricted to users within its organization.", None),
    "redirect_uri_mismatch": (400, "redirect_uri_mismatch", "Bad Request", None),
}
"""Fault kinds of the token endpoint: status, error, description, subtype (providers.md §1.2)."""


def _limit(status: int, reason: str, message: str, detail: str = "RATE_LIMIT_EXCEEDED") -> GoogleError:
    grpc = "PERMISSION_DENIED" if status == 403 else "RESOURCE_EXHAUSTED"
    return GoogleError(status, reason, message, domain="usageLimits", grpc=grpc, detail=detail)


def _denied(reason: str, message: str, detail: str | None = None, domain: str = "global") -> GoogleError:
    return GoogleError(403, reason, message, domain=domain, grpc="PERMISSION_DENIED", detail=detail)


_NOT_ENABLED = (
    "Google Calendar API has not been used in project 123456789012 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/calendar-json.googleapis.com/overview?project=123456789012 then "
    "retry."
)
_SCOPES = "Request had insufficient authentication scopes."


API: dict[str, Callable[[], GoogleError]] = {
    "gone": errors.gone,
    "gone_without_reason": lambda: errors.gone(with_reason=False),
    "bad_sync_token": errors.bad_sync_token,
    "bad_page_token": lambda: errors.invalid("Invalid page token value.", "pageToken", reason="invalid"),
    "updated_min_too_long_ago": lambda: GoogleError(
        410,
        "updatedMinTooLongAgo",
        "The requested minimum modification time lies too far in the past.",
        domain="calendar",
    ),
    "bad_request": lambda: GoogleError(400, "badRequest", "Bad Request"),
    "rate_limit": lambda: _limit(403, "rateLimitExceeded", "Rate Limit Exceeded"),
    "user_rate_limit": lambda: _limit(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
    "too_many_requests": lambda: _limit(429, "rateLimitExceeded", "Rate Limit Exceeded"),
    "quota_exceeded": lambda: _limit(403, "quotaExceeded", "Calendar usage limits exceeded.", "QUOTA_EXCEEDED"),
    "daily_limit": lambda: _limit(403, "dailyLimitExceeded", "Daily Limit Exceeded", "QUOTA_EXCEEDED"),
    "access_not_configured": lambda: _denied("accessNotConfigured", _NOT_ENABLED, "SERVICE_DISABLED", "usageLimits"),
    "insufficient_permissions": lambda: _denied("insufficientPermissions", _SCOPES, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    "forbidden": lambda: GoogleError(403, "forbidden", "Forbidden"),
    "domain_policy": lambda: GoogleError(
        403, "domainPolicy", "The domain policy has disabled third-party Calendar apps.", grpc="PERMISSION_DENIED"
    ),
    "not_a_calendar_user": lambda: GoogleError(
        403, "notACalendarUser", "The user must be signed up for Google Calendar.", domain="calendar"
    ),
    "not_found": errors.not_found,
    "auth_error": errors.bad_credentials,
    "server_error": lambda: GoogleError(500, "internalError", "Internal Error", grpc="INTERNAL"),
    "bad_gateway": lambda: GoogleError(502, "backendError", "Bad Gateway", grpc="UNAVAILABLE"),
    "unavailable": lambda: GoogleError(503, "backendError", "Backend Error", grpc="UNAVAILABLE"),
    "gateway_timeout": lambda: GoogleError(504, "backendError", "Gateway Timeout", grpc="DEADLINE_EXCEEDED"),
    "channel_id_not_unique": lambda: errors.invalid("Channel id not unique", "id", reason="channelIdNotUnique"),
    "push_not_supported": lambda: GoogleError(
        400, "pushNotSupportedForRequestedResource", "Push notifications are not supported by this resource."
    ),
    "webhook_not_https": lambda: GoogleError(400, "push.webhookUrlNotHttps", "WebHook callback must be HTTPS"),
    "webhook_unauthorized": lambda: GoogleError(
        401, "push.webhookUrlUnauthorized", "Unauthorized WebHook callback channel"
    ),
}
"""Fault kinds of the Calendar API that are an error answer (providers.md §1.9)."""

EFFECTS = (*SPOILS, "empty_pages", "no_tokens", "scope_missing")
"""Fault kinds that spoil a normal answer, on any endpoint."""

KINDS = Kinds(
    families={"token": list(TOKEN), "api": list(API), "any": EFFECTS},
    home="events.list",
    at_home_elsewhere={"scope_missing": "token"},
    only_with_token=("gone", "gone_without_reason", "bad_sync_token"),
    aliases={
        "watch": "events.watch",
        "stop": "channels.stop",
        "list": "events.list",
        "get": "events.get",
        "instances": "events.instances",
    },
)


def raised(fault: Fault) -> GoogleError | OAuthError | None:
    """The error answer of this fault; None if it spoils a normal answer instead."""
    if (row := TOKEN.get(fault.kind)) is not None:
        status, error, description, subtype = row
        return OAuthError(status, error, fault.description or description, subtype=subtype)
    if (make := API.get(fault.kind)) is not None:
        error_answer = make()
        error_answer.retry_after = fault.retry_after
        return error_answer
    return None
