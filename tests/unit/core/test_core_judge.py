"""What a failed sync means for its calendar. The rule above all: nobody is disconnected by mistake."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.errors import (
    AccessRevoked,
    ContractBroken,
    CredentialUnreadable,
    CursorExpired,
    OperatorMustAct,
    ProviderError,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.ingest import plan
from calendar_pipeline.ingest.judge import judge
from calendar_pipeline.ingest.store import Claim

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
DOUBTFUL = AccessRevoked("forbidden", needs_confirmation=True)
REVOKED = AccessRevoked("invalid_grant")
REFUSED = TokenRefused("authError")


def claim(*, failures: int = 0, suspected: timedelta | None = None) -> Claim:
    return Claim(
        id="cal_1",
        project_id="proj_1",
        platform="google",
        platform_uuid=None,
        client_id="client",
        client_secret=b"",
        refresh_token=b"",
        access_token=None,
        access_token_expires_at=None,
        sync_token=None,
        sync_parameters=None,
        time_zone=None,
        held_from=None,
        held_until=None,
        relist_at=None,
        requested_gen=1,
        failures=failures,
        suspected_at=None if suspected is None else NOW - suspected,
        quarantined=0,
        unpublished=False,
        state="connected",
        lease_token=uuid.UUID(int=0),
        credentials_at=NOW,
        claimed_at=NOW,
    )


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize(
    ("error", "failures", "suspected", "status"),
    [
        pytest.param(REVOKED, 0, None, "disconnected", id="revoked"),
        pytest.param(REVOKED, 9, minutes(1), "disconnected", id="revoked-after-doubt"),
        pytest.param(DOUBTFUL, 0, None, "retry", id="doubtful-first"),
        pytest.param(DOUBTFUL, 9, None, "retry", id="doubtful-after-other-failures"),
        pytest.param(DOUBTFUL, 1, minutes(9.9), "retry", id="doubtful-too-soon"),
        pytest.param(DOUBTFUL, 1, minutes(10), "disconnected", id="doubtful-confirmed"),
        pytest.param(DOUBTFUL, 1, timedelta(days=3), "disconnected", id="doubtful-confirmed-late"),
        pytest.param(REFUSED, 0, None, "retry", id="token-refused"),
        pytest.param(REFUSED, 2, minutes(60), "retry", id="token-refused-three-times"),
        pytest.param(REFUSED, 3, minutes(9), "retry", id="token-refused-in-quick-succession"),
        pytest.param(REFUSED, 3, minutes(10), "disconnected", id="token-refused-again-and-again"),
        pytest.param(REFUSED, 50, None, "retry", id="token-refused-once-after-other-failures"),
        pytest.param(TryLater("http_503"), 0, None, "retry", id="down"),
        pytest.param(TryLater("http_503"), 1000, minutes(60), "retry", id="down-for-weeks"),
        pytest.param(OperatorMustAct("invalid_client"), 0, None, "operator", id="our-client"),
        pytest.param(OperatorMustAct("invalid_client"), 1000, minutes(60), "operator", id="our-client-for-weeks"),
        pytest.param(CredentialUnreadable("no key"), 0, None, "unreadable", id="no-key"),
        pytest.param(CredentialUnreadable("no key"), 1000, minutes(60), "unreadable", id="no-key-for-weeks"),
        pytest.param(ContractBroken("page_without_token"), 0, None, "bug", id="broken-contract"),
        pytest.param(ContractBroken("http_418"), 1000, minutes(60), "bug", id="broken-contract-for-weeks"),
        pytest.param(CursorExpired("gone"), 0, None, "bug", id="410-to-a-listing"),
    ],
)
def test_what_a_failure_means(
    error: ProviderError | CredentialUnreadable, failures: int, suspected: timedelta | None, status: str
) -> None:
    assert judge(claim(failures=failures, suspected=suspected), error, now=NOW).status == status


def test_the_first_doubt_is_remembered_and_a_second_verdict_is_taken_ten_minutes_later() -> None:
    verdict = judge(claim(), DOUBTFUL, now=NOW)
    assert verdict.suspected_at == NOW
    assert verdict.wait == plan.CONFIRM_AFTER


def test_an_early_second_verdict_does_not_move_the_first_doubt() -> None:
    verdict = judge(claim(failures=1, suspected=minutes(4)), DOUBTFUL, now=NOW)
    assert verdict.suspected_at == NOW - minutes(4)
    assert verdict.wait == minutes(6)


@pytest.mark.parametrize("error", [TryLater("http_500"), OperatorMustAct("invalid_client"), CredentialUnreadable("no")])
def test_another_failure_in_between_clears_the_doubt(error: ProviderError) -> None:
    assert judge(claim(failures=1, suspected=minutes(30)), error, now=NOW).suspected_at is None


def test_a_disconnected_calendar_waits_until_asked() -> None:
    assert judge(claim(), REVOKED, now=NOW).wait is None


@pytest.mark.parametrize(
    "error", [OperatorMustAct("invalid_client"), ContractBroken("http_418"), CredentialUnreadable("no key")]
)
def test_what_the_user_cannot_mend_is_tried_every_half_hour(error: ProviderError) -> None:
    assert judge(claim(), error, now=NOW).wait == minutes(30)


def test_retry_after_is_a_floor() -> None:
    asked = TryLater("rateLimitExceeded", retry_after=timedelta(hours=2))
    assert judge(claim(), asked, now=NOW).wait == timedelta(hours=2)


CODES = st.text("abcXYZ_", min_size=1)
PASSING = st.one_of(
    st.builds(TryLater, CODES, retry_after=st.none() | st.timedeltas(timedelta(), timedelta(hours=6))),
    st.builds(OperatorMustAct, CODES),
    st.builds(ContractBroken, CODES),
    st.builds(CursorExpired, CODES),
    st.builds(CredentialUnreadable, CODES),
)


@given(PASSING, st.integers(0, 10_000), st.none() | st.timedeltas(timedelta(), timedelta(days=30)))
def test_only_a_verdict_about_access_disconnects(
    error: ProviderError, failures: int, suspected: timedelta | None
) -> None:
    verdict = judge(claim(failures=failures, suspected=suspected), error, now=NOW)
    assert verdict.status != "disconnected"
    assert verdict.wait is not None
    assert timedelta() < verdict.wait <= timedelta(hours=6)
