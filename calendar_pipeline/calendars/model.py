"""A followed calendar as the API shows it, and what may be asked for it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from calendar_pipeline.event import Platform

State = Literal["connected", "disconnected"]

PLATFORMS: tuple[Platform, ...] = ("google", "microsoft")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A calendar without its credentials, which never leave the store in the clear."""

    id: str
    project_id: str
    platform: Platform
    client_id: str
    platform_uuid: str | None
    """The provider's calendar id; None is the account's primary calendar."""
    state: State
    metadata: Mapping[str, object] | None
    deduplication_key: str | None
    connection_failure_data: Mapping[str, object] | None
    """``error`` and ``timestamp`` while the calendar is disconnected."""
    created_at: datetime
    updated_at: datetime
    last_successful_sync_at: datetime | None
    last_attempted_sync_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCalendar:
    """What is needed to follow a calendar. Texts are trimmed and free of NUL."""

    platform: Platform
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    platform_uuid: str | None = None
    metadata: Mapping[str, object] | None = None
    deduplication_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarPatch:
    """What is to be changed; None leaves a value as it is."""

    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    metadata: Mapping[str, object] | None = None
    client_id: str | None = None
    """The OAuth client that the new refresh token belongs to; the API never changes it."""

    @property
    def has_credentials(self) -> bool:
        """Whether the calendar's access is given anew."""
        return self.client_secret is not None or self.refresh_token is not None
