"""What Microsoft's refusals mean, by machine code."""

import json
from datetime import UTC, datetime, timedelta

import pytest

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
from calendar_pipeline.providers.microsoft import classify

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HTML = b"<html>busy</html>"


def body(code: str, *inner: str) -> bytes:
    error: dict[str, object] = {}
    for name in reversed((code, *inner)):
        error = {"code": name, "message": "…", **({"innerError": error} if error else {})}
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "with_cursor", "kind"),
    [
        (429, body("TooManyRequests"), False, RateLimited),
        (423, body("Locked"), False, TryLater),
        (503, HTML, False, TryLater),
        (504, body("UnknownError"), False, TryLater),
        (509, b"", False, TryLater),
        (200, HTML, False, TryLater),
        (410, body("SyncStateNotFound"), True, CursorExpired),
        (410, b"", True, CursorExpired),
        (404, body("ErrorX", "syncStateInvalid"), True, CursorExpired),
        (400, body("BadRequest"), True, CursorExpired),
        (400, body("BadRequest"), False, ContractBroken),
        (401, body("InvalidAuthenticationToken"), False, TokenRefused),
        (403, body("ErrorAccessDenied"), False, AccessRevoked),
        (404, body("ErrorItemNotFound"), False, AccessRevoked),
        (404, body("MailboxNotEnabledForRESTAPI"), False, AccessRevoked),
        (403, body("SomethingNew"), False, ContractBroken),
        (418, b"", False, ContractBroken),
    ],
)
def test_what_a_refused_read_means(status: int, answer: bytes, with_cursor: bool, kind: type[ProviderError]) -> None:
    error = classify.graph_error(status, {}, answer, with_cursor=with_cursor, now=NOW)
    assert type(error) is kind


def test_retry_after_is_heard() -> None:
    error = classify.graph_error(429, {"retry-after": "17"}, b"", with_cursor=False, now=NOW)
    assert isinstance(error, RateLimited)
    assert error.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize(
    ("code", "patience"),
    [("ErrorAccessDenied", timedelta(minutes=10)), ("MailboxNotEnabledForRESTAPI", timedelta(hours=24))],
)
def test_a_doubtful_refusal_needs_a_second_one(code: str, patience: timedelta) -> None:
    error = classify.graph_error(404 if "Mail" in code else 403, {}, body(code), with_cursor=False, now=NOW)
    assert isinstance(error, AccessRevoked)
    assert (error.needs_confirmation, error.confirm_after) == (True, patience)


@pytest.mark.parametrize(
    ("error", "codes", "kind"),
    [
        ("invalid_grant", [50173], AccessRevoked),
        ("invalid_grant", [700082], AccessRevoked),
        ("interaction_required", [50076], AccessRevoked),
        ("consent_required", [90094], AccessRevoked),
        ("invalid_grant", [65001], AccessRevoked),
        ("invalid_resource", [500014], AccessRevoked),
        ("unauthorized_client", [7000112], AccessRevoked),
        ("invalid_client", [7000215], OperatorMustAct),
        ("invalid_client", [7000222], OperatorMustAct),
        ("unauthorized_client", [700016], OperatorMustAct),
        ("invalid_request", [50194], OperatorMustAct),
        ("invalid_grant", [50033], TryLater),
        ("temporarily_unavailable", [], TryLater),
        ("server_error", [], TryLater),
        ("invalid_request", [50196], TryLater),
        ("invalid_scope", [70011], ContractBroken),
        ("unheard_of", [], ContractBroken),
    ],
)
def test_what_a_refused_token_means(error: str, codes: list[int], kind: type[ProviderError]) -> None:
    assert type(classify.token_error({"error": error, "error_codes": codes})) is kind


def test_odd_token_answers_are_no_crash() -> None:
    for answer in ({}, {"error": 5}, {"error": "x", "error_codes": "7"}, {"error": "x", "error_codes": ["7", None]}):
        assert isinstance(classify.token_error(answer), ContractBroken)
