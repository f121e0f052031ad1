"""Microsoft's answers, classified by machine code. Pure.

Sources: "Microsoft Graph error responses", "Outlook throttling limits", "AADSTS error codes" (Microsoft Learn). Codes
that mean a passing condition are looked at before the generic error names that they come with.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

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
from calendar_pipeline.providers.json_values import Json, as_object, mapping, text
from calendar_pipeline.providers.retry_after import retry_after

SYNC_STATE = re.compile(r"sync ?state|resync|delta ?token|skip ?token", re.IGNORECASE)
NO_MAILBOX = {"mailboxnotenabledforrestapi", "mailboxnotsupportedforrestapi", "mailboxnothostedinexchangeonline"}
ABSENT = {
    "erroritemnotfound",
    "errorfoldernotfound",
    "resourcenotfound",
    "request_resourcenotfound",
    "errorinvalididmalformed",
}
NO_ACCESS = {"erroraccessdenied", "accessdenied", "authorization_requestdenied", "forbidden"}

MAILBOX_PATIENCE = timedelta(hours=24)
"""A mailbox without a cloud home may only be on its way there (licence change, provisioning)."""

PASSING_CODES = {50033, 50087, 50166, 70012, 90006, 90012, 90024, 90033, 90055, 90090}
PASSING = {"temporarily_unavailable", "server_error"}
OPERATOR_CODES = {7000215, 7000222, 70002, 7000218, 700027, 50194, 50011, 700016, 70001, 90002}
LOOP_CODE = 50196
REVOKED = {
    "invalid_grant",
    "interaction_required",
    "login_required",
    "consent_required",
    "access_denied",
    "invalid_resource",
}
LAPSED_CODES = {500014, 7000112}
"""The tenant's administrator disabled Graph or our application there."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The machine-readable part of a Graph error body."""

    codes: tuple[str, ...]
    """Outermost first."""
    body: Mapping[str, object] | None


def read(body: bytes) -> Refusal:
    """Codes of ``error`` and of its nested inner errors; none if the body is not Graph's JSON."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal((), None)
    error = mapping(as_object(decoded), "error")
    return Refusal(tuple(_codes(error)), error or None)


def _codes(error: Json) -> Iterator[str]:
    for _ in range(8):
        if not error:
            return
        if code := text(error, "code"):
            yield code
        error = mapping(error, "innerError") or mapping(error, "innererror")


def graph_error(
    status: int, headers: Mapping[str, str], body: bytes, *, with_cursor: bool, now: datetime
) -> ProviderError:
    """The error for a refused Graph read; `with_cursor` for a delta or next link of the delta feed."""
    refusal = read(body)
    code = refusal.codes[0] if refusal.codes else f"http_{status}"
    known = {name.lower() for name in refusal.codes}
    if status == 429:
        return RateLimited(code, retry_after=retry_after(headers, now=now))
    if status in (408, 423, 509) or status >= 500:
        return TryLater(code, f"HTTP {status}", retry_after=retry_after(headers, now=now))
    if status < 400:
        return TryLater(f"http_{status}", "not a Graph answer")
    if status == 410 or (with_cursor and status in (400, 404) and any(SYNC_STATE.search(name) for name in known)):
        return CursorExpired(code)
    if with_cursor and status == 400:
        return CursorExpired(code, "400 to a delta link")
    if status == 401:
        return TokenRefused(code, claims=_claims(headers.get("www-authenticate", "")))
    if known & NO_MAILBOX:
        return AccessRevoked(code, body=refusal.body, needs_confirmation=True, confirm_after=MAILBOX_PATIENCE)
    if (status == 403 and known & NO_ACCESS) or (status in (400, 404) and known & ABSENT):
        return AccessRevoked(code, body=refusal.body, needs_confirmation=True)
    return ContractBroken(code, f"HTTP {status}")


def is_absent(refused: AccessRevoked) -> bool:
    """Whether it is the calendar or event that is not there, and not a right that is missing."""
    return refused.code.lower() in ABSENT


def _claims(challenge: str) -> str | None:
    """The claims of a continuous access evaluation challenge, as JSON text; None if it is none.

    Source: "Claims challenges, claims requests, and client capabilities" (Microsoft Learn).
    """
    if not re.search(r'error="insufficient_claims"', challenge) or not (
        found := re.search(r'claims="([A-Za-z0-9+/_=-]+)"', challenge)
    ):
        return None
    encoded = found[1].translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode()
        return decoded if isinstance(json.loads(decoded), dict) else None
    except (ValueError, RecursionError):
        return None


def token_error(answer: Json) -> ProviderError:
    """The error for a refused refresh, from msal's answer: error, error_codes, suberror."""
    error = text(answer, "error") or "no_error_name"
    listed = answer.get("error_codes")
    codes = (
        {code for code in cast("list[object]", listed) if isinstance(code, int)}
        if isinstance(listed, list)
        else set[int]()
    )
    code = f"{error}:AADSTS{min(codes)}" if codes else error
    body = {key: answer[key] for key in ("error", "error_description", "error_codes", "suberror") if key in answer}
    if codes & PASSING_CODES or error in PASSING:
        return TryLater(code)
    if LOOP_CODE in codes:
        return TryLater(code, "the same request too often", retry_after=timedelta(hours=1))
    if codes & LAPSED_CODES:
        return AccessRevoked(code, body=body, needs_confirmation=True)
    if codes & OPERATOR_CODES or error in ("invalid_client", "unauthorized_client"):
        return OperatorMustAct(code)
    if error in REVOKED:
        return AccessRevoked(code, body=body)
    return ContractBroken(code)
