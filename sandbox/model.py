"""What the sandbox remembers: accounts, clients, grants, calendars, events and their change numbers.

Everything is a plain struct, so that the whole state can be written down and read back as JSON.
A calendar's `seq` is its change log: each change takes the next number and leaves it on the event.
Calendars of both providers are kept alike, an event's `fields` in Google's words; what a provider shows of
them is its own folder's business.
"""

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from sandbox.faults import Provider
from sandbox.google.switches import Switches as GoogleSwitches
from sandbox.microsoft.switches import Switches as MicrosoftSwitches
from sandbox.when import When

type_of_role = Literal["owner", "writer", "reader", "freeBusyReader"]
CALENDAR_SCOPE = "https://www.googleapis.com/auth/calendar"


class Retired(msgspec.Struct):
    """An instance id that a series once had and no longer has, and since which change."""

    seq: int
    original: When


class Event(msgspec.Struct):
    """A single event, the master of a series (`recurrence`), or an exception (`series_id`, `original`)."""

    id: str
    start: When
    end: When
    fields: dict[str, Any]
    """All that Google would show besides times, ids, status and stamps; in Google's JSON. Where a name begins
    with `graph:`, what only Graph would show, in its words."""
    ical_uid: str
    status: str = "confirmed"
    recurrence: tuple[str, ...] = ()
    series_id: str | None = None
    original: When | None = None
    created_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    updated_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    seq: int = 0
    born: int = 0
    """The change that made it."""
    retired: list[Retired] = msgspec.field(default_factory=list[Retired])
    zone: str | None = None
    """Whose midnights an all-day event keeps; None: the calendar's, whatever that becomes (Google)."""
    called_off: bool = False
    """Cancelled by its organizer, and still shown as such to the invited (Microsoft)."""

    @property
    def cancelled(self) -> bool:
        """Whether it is a tombstone."""
        return self.status == "cancelled"


class Stale(msgspec.Struct):
    """A calendar's events as they were, and until when readers see them so."""

    events: dict[str, Event]
    seq: int
    until: datetime


class Calendar(msgspec.Struct):
    """A calendar, its events, and how many changes it has seen."""

    id: str
    account: str
    summary: str
    zone: str
    created_at: datetime
    updated_at: datetime
    primary: bool = False
    access_role: type_of_role = "owner"
    seq: int = 0
    token_generation: int = 0
    """Sync tokens of another generation answer 410: raised by changes of access."""
    events: dict[str, Event] = msgspec.field(default_factory=dict[str, Event])
    made: int = 0
    """How many ids were given out."""
    poll_only: bool = False
    deleted: bool = False
    provider: Provider = "google"
    before: Stale | None = None
    """What a replica that lags behind still shows."""

    def zone_of(self, event: Event) -> str:
        """The zone in which `event`'s days begin."""
        return event.zone or self.zone


class Client(msgspec.Struct):
    """An OAuth client of some project."""

    id: str
    secret: str
    redirect_uris: list[str] = msgspec.field(default_factory=list[str])
    """Registered letter for letter; none: any on this machine."""


class Grant(msgspec.Struct):
    """A refresh token: which account lets which client do what."""

    refresh_token: str
    account: str
    client_id: str
    scope: str
    made: int
    revoked: bool = False
    provider: Provider = "google"
    issued_at: datetime | None = None
    """Set where tokens age: at Microsoft."""


class Access(msgspec.Struct):
    """An access token."""

    account: str
    client_id: str
    scope: str
    expires_at: datetime
    refresh_token: str
    provider: Provider = "google"
    claims: bool = False
    """Got in answer to a claims challenge."""
    can_be_challenged: bool = False
    """Long-lived, for a client that said it answers claims challenges: Graph sees at once that it was revoked."""


class Code(msgspec.Struct):
    """An authorization code; works once."""

    account: str
    client_id: str
    redirect_uri: str
    scope: str
    offline: bool
    challenge: str | None = None
    method: str = "plain"
    provider: Provider = "google"
    issued_at: datetime | None = None


class Channel(msgspec.Struct):
    """A watch on a calendar's events."""

    id: str
    resource_id: str
    calendar_id: str
    account: str
    client_id: str
    address: str
    token: str | None
    expires_at: datetime
    told: int = 0
    """The calendar's change that was last told."""
    number: int = 0
    """The last message's number."""


class Subscription(msgspec.Struct):
    """Graph's word for a watch."""

    id: str
    resource: str
    calendar_id: str
    account: str
    client_id: str
    changes: tuple[str, ...]
    url: str
    lifecycle_url: str | None
    client_state: str | None
    expires_at: datetime
    immutable: bool
    """Whether ids are told in the immutable format."""
    token_ends_at: datetime
    """When the access token ends that it was made or renewed with."""
    told: int = 0
    """The calendar's change that was last told."""
    stops_at: datetime | None = None
    """After a call to reauthorize that nobody answers, delivery stops here."""


class State(msgspec.Struct):
    """All of it."""

    epoch: str
    """Names this history: sync tokens of another history answer 410."""
    switches: GoogleSwitches = msgspec.field(default_factory=GoogleSwitches)
    microsoft_switches: MicrosoftSwitches = msgspec.field(default_factory=MicrosoftSwitches)
    calendar_switches: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict[str, dict[str, Any]])
    accounts: list[str] = msgspec.field(default_factory=list[str])
    calendars: dict[str, Calendar] = msgspec.field(default_factory=dict[str, Calendar])
    clients: dict[str, Client] = msgspec.field(default_factory=dict[str, Client])
    grants: dict[str, Grant] = msgspec.field(default_factory=dict[str, Grant])
    access: dict[str, Access] = msgspec.field(default_factory=dict[str, Access])
    codes: dict[str, Code] = msgspec.field(default_factory=dict[str, Code])
    used_codes: list[str] = msgspec.field(default_factory=list[str])
    """Codes of Microsoft's that were redeemed: a second try is told apart."""
    channels: dict[str, Channel] = msgspec.field(default_factory=dict[str, Channel])
    subscriptions: dict[str, Subscription] = msgspec.field(default_factory=dict[str, Subscription])
    webhook_secrets: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """By the receiver's name: see `webhooks`."""
    made: int = 0
    clock_offset_s: float = 0.0
    frozen_at: datetime | None = None
