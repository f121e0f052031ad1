"""Google's refusals, line by line of the error table. Codes decide, texts and ``status`` never do."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from calendar_pipeline.providers.google import classify

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HTML = b"<!DOCTYPE html><html><title>Error 403 (Forbidden)!!1</title></html>"


def body(reason: str | None = None, *, detail: str | None = None, status: str = "PERMISSION_DENIED") -> bytes:
    error: dict[str, object] = {"code": 403, "message": "words that decide nothing", "status": status}
    if reason is not None:
        error["errors"] = [{"domain": "global", "reason": reason, "message": "words"}]
    if detail is not None:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.Help"}, {"@type": kind, "reason": detail}]
    return json.dumps({"error": error}).encode()


API = [
    pytest.param(408, body(), TryLater, id="408"),
    pytest.param(429, body("rateLimitExceeded"), RateLimited, id="429"),
    pytest.param(429, HTML, RateLimited, id="429-html"),
    pytest.param(500, body("internalError"), TryLater, id="500"),
    pytest.param(502, HTML, TryLater, id="502-html"),
    pytest.param(503, body("backendError"), TryLater, id="503"),
    pytest.param(504, b"", TryLater, id="504-empty"),
    pytest.param(503, body("forbidden"), TryLater, id="503-whatever-its-reason"),
    pytest.param(302, HTML, TryLater, id="redirect"),
    pytest.param(401, body("authError", status="UNAUTHENTICATED"), TokenRefused, id="401"),
    pytest.param(401, HTML, TokenRefused, id="401-html"),
    pytest.param(403, body("rateLimitExceeded"), RateLimited, id="403-rate-limit-called-permission-denied"),
    pytest.param(403, body("userRateLimitExceeded"), RateLimited, id="403-user-rate-limit"),
    pytest.param(403, body(detail="RATE_LIMIT_EXCEEDED"), RateLimited, id="403-rate-limit-in-details-only"),
    pytest.param(
        403, body("forbidden", detail="RATE_LIMIT_EXCEEDED"), RateLimited, id="403-rate-limit-beats-forbidden"
    ),
    pytest.param(403, body("quotaExceeded", detail="QUOTA_EXCEEDED"), TryLater, id="403-quota"),
    pytest.param(403, body("dailyLimitExceeded"), OperatorMustAct, id="403-daily-limit"),
    pytest.param(403, body("dailyLimitExceededUnreg"), OperatorMustAct, id="403-daily-limit-unregistered"),
    pytest.param(403, body("accessNotConfigured"), OperatorMustAct, id="403-not-configured"),
    pytest.param(403, body("forbidden", detail="SERVICE_DISABLED"), OperatorMustAct, id="403-service-disabled"),
    pytest.param(403, body(detail="BILLING_DISABLED"), OperatorMustAct, id="403-billing"),
    pytest.param(403, body("insufficientPermissions"), AccessRevoked, id="403-no-scope"),
    pytest.param(
        403, body("forbidden", detail="ACCESS_TOKEN_SCOPE_INSUFFICIENT"), AccessRevoked, id="403-no-scope-details"
    ),
    pytest.param(403, body("notACalendarUser"), AccessRevoked, id="403-not-a-calendar-user"),
    pytest.param(403, body("domainPolicy"), AccessRevoked, id="403-domain-policy"),
    pytest.param(403, body("forbidden"), AccessRevoked, id="403-forbidden"),
    pytest.param(403, body("requiredAccessLevel"), AccessRevoked, id="403-access-level"),
    pytest.param(403, body(), ContractBroken, id="403-no-reason"),
    pytest.param(403, body("invented2027"), ContractBroken, id="403-unknown-reason"),
    pytest.param(403, HTML, ContractBroken, id="403-html"),
    pytest.param(404, body("notFound"), AccessRevoked, id="404"),
    pytest.param(404, HTML, ContractBroken, id="404-html-is-a-wrong-address"),
    pytest.param(410, body("fullSyncRequired"), CursorExpired, id="410"),
    pytest.param(410, body("updatedMinTooLongAgo"), CursorExpired, id="410-other-reason"),
    pytest.param(410, b"", CursorExpired, id="410-no-reason"),
    pytest.param(400, body("badRequest"), ContractBroken, id="400"),
    pytest.param(400, body("invalid"), ContractBroken, id="400-page-token"),
    pytest.param(418, body("teapot"), ContractBroken, id="unknown-status"),
]


def refused(status: int, content: bytes, *, with_cursor: bool = False, **headers: str) -> ProviderError:
    return classify.api_error(status, headers, content, with_cursor=with_cursor, now=NOW)


@pytest.mark.parametrize(("status", "content", "expected"), API)
def test_what_a_refused_read_means(status: int, content: bytes, expected: type[ProviderError]) -> None:
    assert type(refused(status, content)) is expected


@pytest.mark.parametrize("content", [body("invalid"), body("badRequest"), body(), b"", HTML])
def test_400_to_a_sync_token_drops_the_token(content: bytes) -> None:
    assert type(refused(400, content, with_cursor=True)) is CursorExpired


@pytest.mark.parametrize(
    ("status", "content", "twice"),
    [
        (403, body("forbidden"), True),
        (403, body("requiredAccessLevel"), True),
        (404, body("notFound"), True),
        (403, body("insufficientPermissions"), False),
        (403, body("notACalendarUser"), False),
    ],
    ids=["forbidden", "access-level", "not-found", "no-scope", "no-calendar-user"],
)
def test_a_doubtful_verdict_needs_a_second_one(status: int, content: bytes, twice: bool) -> None:
    error = refused(status, content)
    assert isinstance(error, AccessRevoked)
    assert error.needs_confirmation is twice
    assert error.body == json.loads(content)["error"]


def test_a_spent_quota_rests_for_hours() -> None:
    error = refused(403, body("quotaExceeded"))
    assert isinstance(error, TryLater)
    assert error.retry_after == timedelta(hours=2)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (body("notFound"), "notFound"),
        (body("zeta", detail="ALPHA"), "ALPHA"),
        (body(), "http_404"),
        (HTML, "http_404"),
        (b"[" * 100_000, "http_404"),
        (b"\xff\xfe", "http_404"),
        (b"[1]", "http_404"),
        (b'{"error": "text"}', "http_404"),
        (b'{"error": {"errors": {"reason": "x"}, "details": [1, null, {"reason": 5}]}}', "http_404"),
    ],
    ids=["reason", "first-of-two", "none", "html", "bottomless", "bytes", "list", "text", "odd-shapes"],
)
def test_the_code_is_the_reason_or_the_status(content: bytes, code: str) -> None:
    assert refused(404, content).code == code


def test_a_message_holds_none_of_googles_words() -> None:
    for status in (400, 401, 403, 404, 410, 429, 500):
        assert "words" not in str(refused(status, body("someReason")))


def token(error: object, **more: object) -> bytes:
    return json.dumps({"error": error, "error_description": "words", **more}).encode()


TOKEN = [
    pytest.param(400, token("invalid_grant"), AccessRevoked, "invalid_grant", id="invalid-grant"),
    pytest.param(400, token("invalid_grant", error_subtype="invalid_rapt"), AccessRevoked, "invalid_grant", id="rapt"),
    pytest.param(400, token("admin_policy_enforced"), AccessRevoked, "admin_policy_enforced", id="admin-policy"),
    pytest.param(401, token("invalid_client"), OperatorMustAct, "invalid_client", id="invalid-client"),
    pytest.param(401, token("deleted_client"), OperatorMustAct, "deleted_client", id="deleted-client"),
    pytest.param(403, token("org_internal"), OperatorMustAct, "org_internal", id="org-internal"),
    pytest.param(400, token("redirect_uri_mismatch"), OperatorMustAct, "redirect_uri_mismatch", id="redirect-uri"),
    pytest.param(400, token("unsupported_grant_type"), OperatorMustAct, "unsupported_grant_type", id="grant-type"),
    pytest.param(401, token("unauthorized_client"), OperatorMustAct, "unauthorized_client", id="unauthorized-client"),
    pytest.param(400, token("invalid_scope"), ContractBroken, "invalid_scope", id="invalid-scope"),
    pytest.param(400, token("invalid_request"), ContractBroken, "invalid_request", id="invalid-request"),
    pytest.param(400, token("invented_2027"), ContractBroken, "invented_2027", id="unknown"),
    pytest.param(500, token("internal_failure"), TryLater, "token_http_500", id="500"),
    pytest.param(503, token("invalid_grant"), TryLater, "token_http_503", id="503-whatever-it-says"),
    pytest.param(429, token("rate_limit"), TryLater, "token_http_429", id="429"),
    pytest.param(408, b"", TryLater, "token_http_408", id="408"),
    pytest.param(400, HTML, TryLater, "token_http_400", id="html"),
    pytest.param(400, b"{}", TryLater, "token_http_400", id="no-error"),
    pytest.param(400, token({"code": 400}), TryLater, "token_http_400", id="error-object"),
    pytest.param(400, b"[" * 100_000, TryLater, "token_http_400", id="bottomless"),
]


@pytest.mark.parametrize(("status", "content", "expected", "code"), TOKEN)
def test_what_a_refused_refresh_means(status: int, content: bytes, expected: type[ProviderError], code: str) -> None:
    error = classify.token_error(status, {}, content, now=NOW)
    assert (type(error), error.code) == (expected, code)
    assert "words" not in str(error)


def test_a_revoked_grant_carries_googles_error_for_its_owner() -> None:
    error = classify.token_error(400, {}, token("invalid_grant"), now=NOW)
    assert error.body == {"error": "invalid_grant", "error_description": "words"}


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        pytest.param("120", timedelta(minutes=2), id="seconds"),
        pytest.param(" 7 ", timedelta(seconds=7), id="spaces"),
        pytest.param("0", timedelta(), id="zero"),
        pytest.param("99999999999999999999", timedelta(hours=6), id="huge"),
        pytest.param(format_datetime(NOW + timedelta(minutes=5), usegmt=True), timedelta(minutes=5), id="date"),
        pytest.param("Mon, 23 Nov 2026 09:10:00 -0000", timedelta(minutes=10), id="date-of-unknown-zone"),
        pytest.param(format_datetime(NOW - timedelta(days=1), usegmt=True), timedelta(), id="date-gone-by"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(hours=6), id="date-far-off"),
        pytest.param("Mon, 01 Jan 0001 00:00:00 +2359", timedelta(), id="date-long-ago"),
        pytest.param("-5", None, id="negative"),
        pytest.param("1e9", None, id="exponent"),
        pytest.param("٣", None, id="arabic-digit"),
        pytest.param("soon", None, id="garbage"),
        pytest.param("Mon, 99 Foo 2026", None, id="garbage-date"),
        pytest.param("Mon, 01 Jan 99999 00:00:00 GMT", None, id="impossible-year"),
        pytest.param("", None, id="empty"),
    ],
)
def test_retry_after(value: str, wait: timedelta | None) -> None:
    assert classify.retry_after({"retry-after": value}, now=NOW) == wait


@given(st.text(max_size=40))
def test_retry_after_is_none_or_within_six_hours(value: str) -> None:
    wait = classify.retry_after({"retry-after": value}, now=NOW)
    assert wait is None or timedelta() <= wait <= timedelta(hours=6)


@pytest.mark.parametrize(
    ("status", "reason"), [(429, "rateLimitExceeded"), (403, "rateLimitExceeded"), (503, "backendError")]
)
def test_retry_after_is_handed_on(status: int, reason: str) -> None:
    error = refused(status, body(reason), **{"retry-after": "90"})
    assert isinstance(error, TryLater)
    assert error.retry_after == timedelta(seconds=90)


@given(st.integers(300, 599), st.binary(max_size=60), st.booleans())
def test_any_answer_is_classified(status: int, content: bytes, with_cursor: bool) -> None:
    assert isinstance(refused(status, content, with_cursor=with_cursor), ProviderError)
    assert isinstance(classify.token_error(status, {}, content, now=NOW), ProviderError)
