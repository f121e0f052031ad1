"""Everything the sandbox knows, and everything that can be done to it, without HTTP.

One lock round it all: each public method takes it, and the HTTP side holds it while it answers. The time is
UTC from a clock that is handed in, and can be moved or frozen. `control` offers the same methods over HTTP,
`client` calls them from there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from sandbox import bulk, ics
from sandbox.accounts import Accounts
from sandbox.dialects import DIALECTS
from sandbox.diary import Diary
from sandbox.faults import Fault, Faults, Kinds, Provider
from sandbox.google import faults as google_faults
from sandbox.google.switches import Switches as GoogleSwitches
from sandbox.ground import locked
from sandbox.microsoft import faults as microsoft_faults
from sandbox.microsoft.switches import Switches as MicrosoftSwitches
from sandbox.model import State
from sandbox.pushes import Pushes
from sandbox.replies import Credentials, Json, Loaded
from sandbox.switches import with_changes
from sandbox.webhooks import Webhooks

KINDS: Mapping[Provider, Kinds] = {"google": google_faults.KINDS, "microsoft": microsoft_faults.KINDS}


class World(Accounts, Diary, Pushes, Webhooks):
    """Accounts, calendars, failures to come, and the clock. All methods may be called from any thread."""

    def __init__(self, state: State | None = None, *, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(state, clock=clock)
        self.faults = Faults(KINDS)

    # -- many at once --------------------------------------------------------------------------------------

    @locked
    def create_calendars(
        self,
        count: int,
        events: int,
        *,
        series: int = 0,
        prefix: str = "bench",
        first: int = 0,
        zone: str = "Europe/Berlin",
        client_id: str = "sandbox-client",
        provider: Provider = "google",
    ) -> list[Credentials]:
        """Many alike for benchmarks; see `bulk.create_calendars`."""
        return bulk.create_calendars(
            self,
            count,
            events,
            series=series,
            prefix=prefix,
            first=first,
            zone=zone,
            client_id=client_id,
            provider=provider,
        )

    @locked
    def add_demo(self, now: datetime | None = None, *, provider: Provider = "google") -> Credentials:
        """Somebody's calendar in the week of `now`; see `bulk.add_demo`."""
        return bulk.add_demo(self, now or self.now(), provider=provider)

    @locked
    def load(
        self,
        text: str,
        *,
        calendar_id: str | None = None,
        account: str | None = None,
        shift_to_now: bool = False,
        provider: Provider = "google",
    ) -> Loaded:
        """An .ics export's events into a calendar, a new one unless named; see `ics.read`."""
        self.changes += 1
        export = ics.read(text, zone=self.calendar(calendar_id).zone if calendar_id else None)
        weeks = ics.weeks_to(export, self.now()) if shift_to_now else 0
        if calendar_id is None:
            made = self.create_calendar(account=account, summary=export.name, zone=export.zone, provider=provider)
            calendar_id = made.calendar_id
        calendar = self._changed(calendar_id)
        linked = DIALECTS[calendar.provider].linked
        added, skipped = ics.add(calendar, ics.shifted(export, weeks), self.now(), linked=linked)
        return Loaded(calendar.id, added, [*export.skipped, *skipped], weeks)

    # -- behaviour -----------------------------------------------------------------------------------------

    @locked
    def switches(
        self, calendar_id: str | None = None, *, provider: Provider = "google"
    ) -> GoogleSwitches | MicrosoftSwitches:
        """The switches as they stand, for all calendars of the provider or for one calendar."""
        if calendar_id is None:
            return self.state.switches if provider == "google" else self.state.microsoft_switches
        calendar = self.calendar(calendar_id)
        if calendar.provider == "google":
            return self.google_switches(calendar.id)
        return self.microsoft_switches(calendar.id)

    @locked
    def set_switches(
        self, changes: Json, calendar_id: str | None = None, *, provider: Provider = "google"
    ) -> GoogleSwitches | MicrosoftSwitches:
        """Set some switches, for all calendars of the provider or for one; raises `Unusable` for what there isn't."""
        self.changes += 1
        if calendar_id is not None:
            calendar_id = self.calendar(calendar_id).id
            made = with_changes(self.switches(calendar_id), changes)
            self.state.calendar_switches[calendar_id] = self.state.calendar_switches.get(calendar_id, {}) | changes
        elif provider == "google":
            made = self.state.switches = with_changes(self.state.switches, changes)
        else:
            made = self.state.microsoft_switches = with_changes(self.state.microsoft_switches, changes)
        return made

    @locked
    def add_fault(
        self,
        kind: str,
        *,
        endpoint: str = "",
        calendar_id: str | None = None,
        client_id: str | None = None,
        refresh_token: str | None = None,
        times: int | None = 1,
        seconds: float = 2.0,
        retry_after: int | None = None,
        description: str | None = None,
        account: str | None = None,
        provider: Provider | None = None,
    ) -> Fault:
        """Let the next `times` fitting requests fail (None: all until cleared); `fault_kinds` says how they may."""
        if calendar_id is not None:
            calendar = self.calendar(calendar_id)
            calendar_id, provider = calendar.id, calendar.provider
        fault = Fault(kind, endpoint, calendar_id, client_id, refresh_token, times, seconds, retry_after, description)
        fault.account, fault.provider = account, provider
        return self.faults.add(fault)

    @locked
    def clear_faults(self, fault_id: int | None = None) -> int:
        """Forget one fault or all; how many there were."""
        return self.faults.clear(fault_id)

    @locked
    def fault_list(self) -> list[Fault]:
        """The faults still to come."""
        return list(self.faults.waiting)

    def fault_kinds(self) -> Json:
        """Which faults there are, by provider and family."""
        return {name: {family: list(kinds) for family, kinds in of.families.items()} for name, of in KINDS.items()}
