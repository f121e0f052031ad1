"""Which of Graph's undecided, noisy or slow behaviours the sandbox shows.

The defaults are what live mailboxes were reported to do; each switch is the other outcome, which a robust
client survives as well.
"""

from typing import Literal

import msgspec

from sandbox.push import Weather


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """Set for the whole sandbox, or for one calendar."""

    default_page_size: int = 10
    """Items a page of a calendar view without $top, and calendars a page."""
    page_size: int | None = None
    """At most so many items a page, whatever was asked."""
    delta_page_size: int = 50
    """Entries a page of a delta round without odata.maxpagesize; a hint only, since a series is never split."""
    empty_first_page: bool = False
    """The first page of a delta round is empty and has a next link."""
    duplicates: bool = False
    """A delta round tells some entries twice, an older version first."""
    replay: bool = False
    """A delta round tells what the round before it told once more."""
    removed_reason: Literal["deleted", "changed"] = "deleted"
    """What a tombstone says."""
    delta_token_max_age_s: float | None = None
    """Delta and next links older than this are refused."""
    expired_status: Literal[400, 404, 410] = 410
    """With which status an expired link is refused."""
    gone_location: bool = False
    """A 410 names a link to start anew in its Location header."""
    replication_lag_s: float = 0.0
    """Reads show a calendar as it was before a change for so long, while the notification goes at once."""
    preserve_declined: bool = False
    """Declined meetings stay in the calendar."""
    online_meeting_late: bool = False
    """A Teams meeting gets its join link only with its second change."""
    concurrent_requests: int = 4
    """More at once for one application and mailbox answer 429."""
    throttle_retry_after_s: int = 10
    """Retry-After of those."""
    access_token_s: int = 3599
    """How long an access token lives."""
    long_access_token_s: int = 86_400
    """The same for a client that can answer claims challenges (CAE)."""
    refresh_token_days: float = 90.0
    """Age at which a refresh token dies; a used one goes on ageing."""
    code_minutes: float = 10.0
    """How long an authorization code lives."""
    subscription_max_minutes: int = 10_080
    """A longer life is refused."""
    subscription_min_minutes: int = 45
    """A shorter one is raised to this."""
    subscriptions_per_mailbox: int = 1000
    """More of them are refused."""
    poll_only: bool = False
    """Subscribing answers 403."""
    handshake_s: float = 10.0
    """How long an address may take to answer the validation of a subscription."""
    push: Weather = Weather()
    """How notifications travel."""
    notifications_per_change: int = 3
    """How often one change is told."""
    mixed_batches: bool = False
    """A POST also holds entries of other subscriptions at the same address, and of one that nobody knows."""
    slow_endpoint_s: float | None = None
    """An address that took longer for more than 15 of 100 answers gets nothing more for ten minutes; for more than
    ten, everything ten seconds late. None: however slow it is."""
