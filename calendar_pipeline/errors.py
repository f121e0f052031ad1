"""Every expected error, named for what the caller should do.

CalendarPipelineError
├── ProviderError              a provider's answer, classified by machine code (never by searching texts)
│   ├── TryLater               keep everything as it is and ask again after `retry_after`
│   │   ├── TokenRefused       the access token was refused before its time: get a new one, once
│   │   ├── RateLimited        too many requests in this client's or user's name
│   │   └── PageRefused        a listing was forgotten half-way: begin it anew
│   ├── CursorExpired          drop the cursor and list the window anew
│   ├── AccessRevoked          the user must reconnect; keep the data
│   ├── PushRefused            this calendar cannot be watched: poll it, and ask again after `again_after` if at all
│   ├── ChannelGone            the provider does not know this channel (any more): make a new one
│   ├── OperatorMustAct        our OAuth client or project is refused; disconnect nobody
│   └── ContractBroken         an answer that should not exist, or a bug of ours; alarm, do not loop
├── LeaseLost                  another worker has this calendar now; step aside, nothing was written
├── CredentialUnreadable       the key ring cannot open a stored secret; the operator must restore the key
├── NotFound                   there is no such thing, or it is another project's
├── DuplicateKey               the deduplication key is taken
└── SetupError                 the installation cannot run like this; the message says what to change

Messages never contain a credential, a provider's free text or anything out of a calendar.
"""

from collections.abc import Mapping
from datetime import timedelta


class CalendarPipelineError(Exception):
    """Root of all expected errors."""


class ProviderError(CalendarPipelineError):
    """A provider's refusal.

    `code` is the provider's machine code (``invalid_grant``, ``rateLimitExceeded``, ``http_503``, ``timeout``).
    `body` is its error object where the connection's owner is to see it; it never holds a credential.
    """

    status: int | None = None
    """The HTTP status of a refused read."""

    def __init__(self, code: str, message: str = "", *, body: Mapping[str, object] | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.body = body


class TryLater(ProviderError):
    """A passing condition: network, rate limit, provider down. State is kept."""

    def __init__(self, code: str, message: str = "", *, retry_after: timedelta | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class TokenRefused(TryLater):
    """HTTP 401 to an access token that should still be good.

    `claims` is what the provider wants the next token to be asked for with, if it said so.
    """

    def __init__(self, code: str, message: str = "", *, claims: str | None = None) -> None:
        super().__init__(code, message)
        self.claims = claims


class RateLimited(TryLater):
    """The provider asks us to slow down."""


class PageRefused(TryLater):
    """The next page of a listing was refused; the listing so far is of no use."""


class CursorExpired(ProviderError):
    """The provider does not honour the cursor any more."""


class AccessRevoked(ProviderError):
    """The user's grant is gone.

    With `needs_confirmation` the verdict could still be a mistake of the moment: it counts only when it is
    given again after `confirm_after` or later.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        body: Mapping[str, object] | None = None,
        needs_confirmation: bool = False,
        confirm_after: timedelta = timedelta(minutes=10),
    ) -> None:
        super().__init__(code, message, body=body)
        self.needs_confirmation = needs_confirmation
        self.confirm_after = confirm_after


class PushRefused(ProviderError):
    """The provider does not notify of this calendar's changes. `again_after` None: it never will."""

    def __init__(self, code: str, message: str = "", *, again_after: timedelta | None = None) -> None:
        super().__init__(code, message)
        self.again_after = again_after


class ChannelGone(ProviderError):
    """A channel that was to be renewed does not exist."""


class OperatorMustAct(ProviderError):
    """Our own client id, secret, API activation or quota is refused."""


class ContractBroken(ProviderError):
    """The provider answered what its contract rules out, or we asked what it forbids."""


class LeaseLost(CalendarPipelineError):
    """The calendar was claimed by another worker, or deleted, while we read from the provider."""


class CredentialUnreadable(CalendarPipelineError):
    """A stored secret cannot be opened with the keys at hand."""


class NotFound(CalendarPipelineError):
    """Nothing with this id in this project."""


class DuplicateKey(CalendarPipelineError):
    """Another row of the project has this deduplication key."""


class SetupError(CalendarPipelineError):
    """The installation is incomplete or contradictory; the message says what to do."""
