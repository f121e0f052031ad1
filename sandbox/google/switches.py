"""Which of Google's undecided or disputed behaviours the sandbox shows.

The defaults are what live accounts were reported to do; each switch is the other outcome, which a robust
client survives as well.
"""

from typing import Literal

import msgspec

from sandbox.push import Weather


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """Set for the whole sandbox, or for one calendar."""

    token_keeps_window: bool = False
    """A sync token remembers timeMin/timeMax: what lies outside comes as cancelled."""
    tombstones: Literal["random", "id", "full"] = "random"
    """How much a cancelled item tells; `random` differs per event and change, but repeatably."""
    expansion_cap: int = 730
    """How many instances of a touched series an incremental answer holds."""
    old_id_tombstones: bool = True
    """A series that is shifted, shortened or split announces its old instance ids as cancelled."""
    deleted_series: Literal["instances", "master", "both"] = "instances"
    """How an incremental answer tells that a series was deleted."""
    deleted_series_days: int = 183
    """How far from now, to both sides, the instances of a deleted series are announced."""
    token_max_age_s: float | None = None
    """Sync tokens older than this answer 410."""
    gone_without_reason: bool = False
    """410 comes without `fullSyncRequired`."""
    refuse_param_drift: bool = False
    """A sync token with other parameters than at its issue answers 400."""
    refuse_large_max_results: bool = False
    """maxResults above 2500 answers 400; else it is clamped."""
    page_size: int | None = None
    """At most so many items a page, whatever maxResults says."""
    empty_first_page: bool = False
    """The first page is empty and has a nextPageToken."""
    access_token_s: int = 3599
    """How long an access token lives."""
    refresh_tokens_per_account: int = 100
    """More live grants for one account and client: the oldest dies without warning."""
    rotate_refresh_tokens: bool = False
    """A refresh brings a new refresh token and kills the old one (Google doesn't)."""
    watch_max_ttl_s: int = 604_800
    """The longest life of a watch channel, whatever was asked."""
    push: Weather = Weather()
    """How notifications travel."""
    sync_message_early: bool = False
    """The first notification comes before the answer to the watch request."""
    poll_only: bool = False
    """Watching answers 400 pushNotSupportedForRequestedResource."""
    updated_min_days: int = 28
    """updatedMin further back answers 410."""
