"""What push is to us: a watch on a calendar that says when something changed, and never what. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from calendar_pipeline.event import Platform
from calendar_pipeline.providers.port import Grant, Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a provider is asked to do: tell `address` of changes, and show `token` each time."""

    channel: str
    """Our id of it, never used before: after a lost answer it may be taken."""
    address: str = field(repr=False)
    token: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A channel at its provider."""

    channel: str
    remote_id: str | None = None
    """The provider's own id of it, if it gives one."""
    resource_id: str | None = None
    expires_at: datetime


class PushProvider(Protocol):
    """One provider's notifications. Every method raises `errors.ProviderError`."""

    @property
    def platform(self) -> Platform:
        """The platform's name in the API."""
        ...

    @property
    def renews(self) -> bool:
        """Whether a channel can live longer than it was made for; else a new one takes its place."""
        ...

    def watch(self, grant: Grant, calendar: str | None, ask: Ask, *, meter: Meter) -> Watch:
        """Make a channel; raises PushRefused if there is no push for this calendar.

        The request is sent once: after a lost answer, ask with another id.
        """
        ...

    def renew(self, grant: Grant, watch: Watch, *, until: datetime, meter: Meter) -> Watch:
        """The same channel, with a longer life; raises ChannelGone."""
        ...

    def stop(self, grant: Grant, watch: Watch, *, meter: Meter) -> None:
        """No more notifications, or a few. One that is not there any more is stopped."""
        ...
