"""Google's answers, classified by machine code. Pure.

Sources: "Handle API errors" (Calendar API), "Using OAuth 2.0 to access Google APIs"; the order of evaluation is
HTTP class, then reason, then the safe default: an unknown refusal is our bug, never the user's fault.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from calendar_pipeline.errors import (
    AccessRevoked,
    ContractBroken,
    CursorExpired,
    OperatorMustAct,
    ProviderError,
    RateLimited,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.providers.json_values import as_object, mapping, objects, text
from calendar_pipeline.providers.retry_after import retry_after

RATE_LIMITS = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"}
OPERATOR = {
    "dailyLimitExceeded",
    "dailyLimitExceededUnreg",
    "accessNotConfigured",
    "SERVICE_DISABLED",
    "BILLING_DISABLED",
    "billingNotEnabled",
}
NO_SCOPE = {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
NO_CALENDAR = {"notACalendarUser", "domainPolicy"}

TOKEN_REVOKED = {"invalid_grant", "admin_policy_enforced"}
TOKEN_OPERATOR = {
    "invalid_client",
    "deleted_client",
    "org_internal",
    "redirect_uri_mismatch",
    "unsupported_grant_type",
}

QUOTA_PAUSE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The machine-readable part of an error body."""

    reasons: frozenset[str]
    body: Mapping[str, object] | None

    @property
    def code(self) -> str | None:
        """One reason for logs, the same one each time."""
        return min(self.reasons) if self.reasons else None


def read(body: bytes) -> Refusal:
    """Reasons from ``errors[].reason`` and ``details[].reason``; empty if the body is not Google's JSON."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(frozenset(), None)
    error = mapping(as_object(decoded), "error")
    reasons = {
        reason
        for key in ("errors", "details")
        for entry in objects(error, key)
        if (reason := text(entry, "reason")) is not None
    }
    return Refusal(frozenset(reasons), error or None)


def api_error(
    status: int, headers: Mapping[str, str], body: bytes, *, with_cursor: bool, now: datetime
) -> ProviderError:
    """The error for a refused Calendar API read. 401 is the caller's to retry with a new token first."""
    refusal = read(body)
    reasons = refusal.reasons
    code = refusal.code or f"http_{status}"
    if status == 429:
        return RateLimited(code, retry_after=retry_after(headers, now=now))
    if status == 408 or status >= 500:
        return TryLater(code, f"HTTP {status}", retry_after=retry_after(headers, now=now))
    if status < 400:
        return TryLater(f"http_{status}", "not a Calendar API answer")
    if status == 410:
        return CursorExpired(code)
    if status == 400 and with_cursor:
        return CursorExpired(code, "400 to a request with a sync token")
    if status == 401:
        return TokenRefused(code)
    if status == 403:
        return _forbidden(refusal, code, headers, now=now)
    if status == 404 and "notFound" in reasons:
        return AccessRevoked(code, "no such calendar", body=refusal.body, needs_confirmation=True)
    return ContractBroken(code, f"HTTP {status}")


def _forbidden(refusal: Refusal, code: str, headers: Mapping[str, str], *, now: datetime) -> ProviderError:
    """403 says least by itself: a rate limit's body, too, names PERMISSION_DENIED as its status."""
    reasons = refusal.reasons
    if reasons & RATE_LIMITS:
        return RateLimited(code, retry_after=retry_after(headers, now=now))
    if "quotaExceeded" in reasons:
        return TryLater(code, retry_after=QUOTA_PAUSE)
    if reasons & OPERATOR:
        return OperatorMustAct(code)
    if reasons & (NO_SCOPE | NO_CALENDAR):
        return AccessRevoked(code, body=refusal.body)
    if reasons & {"forbidden", "requiredAccessLevel"}:
        return AccessRevoked(code, body=refusal.body, needs_confirmation=True)
    return ContractBroken(code, "HTTP 403")


def token_error(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> ProviderError:
    """The error for a refused refresh."""
    try:
        decoded = as_object(json.loads(body))
    except (ValueError, RecursionError):
        decoded = {}
    error = decoded.get("error")
    if status in (408, 429) or status >= 500 or not isinstance(error, str):
        return TryLater(f"token_http_{status}", retry_after=retry_after(headers, now=now))
    if error in TOKEN_REVOKED:
        return AccessRevoked(error, body=decoded)
    if error in TOKEN_OPERATOR:
        return OperatorMustAct(error)
    if error == "unauthorized_client":
        # The refresh token belongs to another client id: nearly always a wrong configuration of ours.
        return OperatorMustAct(error)
    return ContractBroken(error, f"token endpoint, HTTP {status}")
