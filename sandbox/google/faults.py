"""Failures on demand: which there are, what each answers, and which request one strikes."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from sandbox.google import errors
from sandbox.google.errors import GoogleError, OAuthError, Unusable

Effect = Literal[
    "slow",
    "truncated",
    "reset",
    "lost_answer",
    "html_ok",
    "html_bad_gateway",
    "empty_pages",
    "no_tokens",
    "scope_missing",
]
"""What isn't an error answer but something done to the normal one."""

_HTML = "<!DOCTYPE html><html lang=en><title>Error {0}</title><p><b>{0}.</b> <ins>That’s an error.</ins></html>"


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One failure to come. It strikes requests that fit all of its conditions, `times` times (None: for ever)."""

    kind: str
    endpoint: str = ""
    """`token`, `events.list`, `events.watch`, …, `events.*` or `*`; empty: where the kind belongs."""
    calendar_id: str | None = None
    client_id: str | None = None
    refresh_token: str | None = None
    times: int | None = 1
    seconds: float = 2.0
    """For `slow`: how long the answer takes."""
    retry_after: int | None = None
    """For error answers: the Retry-After header."""
    description: str | None = None
    """For token errors: another error_description."""
    id: int = 0

    def strikes(self, request: "Target") -> bool:
        """Whether it is meant for this request. What is about sync tokens strikes only requests with one."""
        where = _ALIASES.get(self.endpoint, self.endpoint) or ("token" if self.kind in TOKEN else "events.list")
        if where.endswith("*"):
            if not request.endpoint.startswith(where[:-1]):
                return False
        elif where != request.endpoint:
            return False
        if self.kind in _ABOUT_SYNC_TOKEN and not request.sync_token:
            return False
        wanted = ((self.calendar_id, request.calendar_id), (self.client_id, request.client_id))
        asked = (*wanted, (self.refresh_token, request.refresh_token))
        return all(mine is None or mine == theirs for mine, theirs in asked)


class Target(msgspec.Struct, frozen=True):
    """What of a request a fault can be aimed at."""

    endpoint: str
    calendar_id: str | None = None
    client_id: str | None = None
    refresh_token: str | None = None
    sync_token: bool = False


_ALIASES = {
    "watch": "events.watch",
    "stop": "channels.stop",
    "list": "events.list",
    "get": "events.get",
    "instances": "events.instances",
}
_ABOUT_SYNC_TOKEN = ("gone", "gone_without_reason", "bad_sync_token")

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

EFFECTS: tuple[Effect, ...] = (
    "slow",
    "truncated",
    "reset",
    "lost_answer",
    "html_ok",
    "html_bad_gateway",
    "empty_pages",
    "no_tokens",
    "scope_missing",
)
"""Fault kinds that spoil a normal answer, on any endpoint."""
KINDS = (*TOKEN, *API, *EFFECTS)


def check(fault: Fault) -> Fault:
    """The fault, if there is such a kind; else `Unusable` that names all."""
    if fault.kind not in KINDS:
        message = f"There is no fault {fault.kind!r}. Known: {', '.join(KINDS)}."
        raise Unusable(message)
    if fault.times is not None and fault.times < 1:
        message = "A fault strikes at least once: give times=1 or more, or none for 'until cleared'."
        raise Unusable(message)
    if not fault.endpoint and fault.kind == "scope_missing":
        fault.endpoint = "token"
    if fault.kind in TOKEN and fault.endpoint not in ("", "token"):
        message = f"{fault.kind} is an answer of the token endpoint only."
        raise Unusable(message)
    return fault


class Faults:
    """The failures to come, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self._made = 0

    def add(self, fault: Fault) -> Fault:
        """Remember one more failure."""
        self._made += 1
        fault.id = self._made
        self.waiting.append(check(fault))
        return fault

    def clear(self, fault_id: int | None = None) -> int:
        """Forget one, or all; how many were forgotten."""
        kept = [one for one in self.waiting if fault_id is not None and one.id != fault_id]
        forgotten = len(self.waiting) - len(kept)
        self.waiting = kept
        return forgotten

    def take(self, request: Target) -> Fault | None:
        """The first failure meant for this request; used up by one."""
        for fault in self.waiting:
            if fault.strikes(request):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self.waiting.remove(fault)
                return fault
        return None


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


def html(status: int) -> bytes:
    """What a front end says instead of the API."""
    return _HTML.format(status).encode()


def known() -> dict[str, Any]:
    """All kinds by family, for people."""
    return {"token": list(TOKEN), "api": list(API), "any": list(EFFECTS)}
