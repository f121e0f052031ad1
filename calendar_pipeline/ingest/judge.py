"""What a failed sync means for its calendar. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from calendar_pipeline.errors import (
    AccessRevoked,
    CredentialUnreadable,
    OperatorMustAct,
    ProviderError,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.ingest import plan
from calendar_pipeline.ingest.outcome import Status
from calendar_pipeline.ingest.store import Claim

TOKEN_REFUSALS = 3
"""More failed syncs in a row than this, and a fresh access token refused for ten minutes: the user must reconnect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a failure means for the calendar."""

    status: Status
    code: str
    wait: timedelta | None
    """None: not before someone asks for it."""
    suspected_at: datetime | None = None


def judge(claimed: Claim, error: ProviderError | CredentialUnreadable, *, now: datetime) -> Verdict:
    """Only a revoked grant disconnects, and a doubtful one only when it is said again ten minutes later."""
    failures = claimed.failures + 1
    pause = plan.backoff(claimed.id, failures, retry_after=None)
    match error:
        case AccessRevoked(code=code, needs_confirmation=True, confirm_after=patience) if (
            claimed.suspected_at is None or now - claimed.suspected_at < patience
        ):
            since = claimed.suspected_at or now
            wait = min(since + patience - now, plan.LONGEST_BACKOFF)
            return Verdict(status="retry", code=code, wait=max(wait, pause), suspected_at=since)
        case AccessRevoked(code=code):
            return Verdict(status="disconnected", code=code, wait=None)
        case TokenRefused(code=code):
            since = claimed.suspected_at or now
            if failures > TOKEN_REFUSALS and now - since >= plan.CONFIRM_AFTER:
                return Verdict(status="disconnected", code=code, wait=None)
            return Verdict(status="retry", code=code, wait=pause, suspected_at=since)
        case TryLater(code=code, retry_after=retry_after):
            return Verdict(status="retry", code=code, wait=plan.backoff(claimed.id, failures, retry_after=retry_after))
        case OperatorMustAct(code=code):
            return Verdict(status="operator", code=code, wait=plan.LONGEST_BACKOFF)
        case CredentialUnreadable():
            return Verdict(status="unreadable", code="credential_unreadable", wait=plan.LONGEST_BACKOFF)
        case ProviderError(code=code):
            return Verdict(status="bug", code=code, wait=plan.LONGEST_BACKOFF)
