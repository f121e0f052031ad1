"""Everything the sandbox knows, and everything that can be done to it, without HTTP.

One lock round it all: each public method takes it, and the HTTP side holds it while it answers. The time is
UTC from a clock that is handed in, and can be moved or frozen. `control` offers the same methods over HTTP,
`client` calls them from there.
"""

import functools
import secrets
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Concatenate, Literal, ParamSpec, TypeVar

from sandbox import bulk, drafts, ics
from sandbox.google import edits, faults, listing, oauth, render, watch
from sandbox.google.errors import Missing, Unusable
from sandbox.google.faults import Fault, Faults
from sandbox.google.links import conference
from sandbox.google.model import CALENDAR_SCOPE, Calendar, Client, Code, State, type_of_role
from sandbox.google.query import Query
from sandbox.google.render import Occurrence
from sandbox.google.switches import Switches, with_changes
from sandbox.google.when import Moment, parse, zone_info
from sandbox.push import Courier, Parcel, Tally
from sandbox.replies import Credentials, Json, Loaded, Seen, Stats

P = ParamSpec("P")
R = TypeVar("R")
_LOG = 1000


def locked(method: "Callable[Concatenate[World, P], R]") -> "Callable[Concatenate[World, P], R]":
    """Run under the world's lock, and tell whoever watches what changed."""

    @functools.wraps(method)
    def inner(self: "World", *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            self.depth += 1
            try:
                return method(self, *args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.tell()

    return inner


class World:
    """Accounts, calendars, failures to come, and the clock. All methods may be called from any thread."""

    def __init__(self, state: State | None = None, *, clock: Callable[[], datetime] | None = None) -> None:
        self.state = state or State(epoch=secrets.token_hex(8))
        self.faults = Faults()
        self.lock = RLock()
        self.depth = 0
        """Public methods entered and not yet left by the lock's holder."""
        self.base_url = ""
        self.courier = Courier()
        self._told = 0
        self.log: deque[Seen] = deque(maxlen=_LOG)
        self.changes = 0
        """Raised by everything that changes `state`: tells a snapshot whether there is anything to write."""
        self._clock = clock or (lambda: datetime.now(UTC))
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    # -- clock ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The sandbox's time."""
        return self.state.frozen_at or self._clock() + timedelta(seconds=self.state.clock_offset_s)

    @locked
    def set_clock(self, at: datetime | None = None, *, frozen: bool = False) -> datetime:
        """Go to `at` (None: back to real time), and tick on from there or stand still."""
        self.changes += 1
        if at is not None and at.tzinfo is None:
            message = "The clock needs a time with an offset, such as 2026-11-24T15:00:00Z."
            raise Unusable(message)
        self.state.clock_offset_s = 0.0 if at is None else (at - self._clock()).total_seconds()
        self.state.frozen_at = (at or self.now()) if frozen else None
        return self.now()

    @locked
    def advance(self, by: timedelta) -> datetime:
        """Let time pass."""
        self.changes += 1
        if self.state.frozen_at is not None:
            self.state.frozen_at += by
        else:
            self.state.clock_offset_s += by.total_seconds()
        return self.now()

    # -- accounts and calendars ----------------------------------------------------------------------------

    @locked
    def create_calendar(
        self,
        *,
        account: str | None = None,
        calendar_id: str | None = None,
        summary: str | None = None,
        zone: str = "Europe/Berlin",
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - a play secret
        refresh_token: str | None = None,
        scope: str = CALENDAR_SCOPE,
        access_role: type_of_role = "owner",
        poll_only: bool = False,
    ) -> Credentials:
        """A calendar of a new or known account, and a refresh token for it. An account's first one is its primary."""
        zone_info(zone)
        state = self.state
        self.changes += 1
        if account is None:
            state.made += 1
            account = f"person{state.made}@example.com"
        primary = account not in state.accounts
        if calendar_id is None:
            state.made += 1
            calendar_id = account if primary else f"c_{state.made:020d}@group.calendar.google.com"
        if calendar_id in state.calendars:
            message = f"There is a calendar {calendar_id} already: choose another id, or use that one."
            raise Unusable(message)
        if primary:
            state.accounts.append(account)
        state.calendars[calendar_id] = Calendar(
            calendar_id,
            account,
            summary or (account if primary else "Calendar"),
            zone,
            self.now(),
            self.now(),
            primary=primary,
            access_role=access_role,
            poll_only=poll_only,
        )
        known = state.clients.setdefault(client_id, Client(client_id, client_secret))
        granted = self._grant(account, client_id, scope, refresh_token)
        return Credentials(calendar_id, account, client_id, known.secret, granted, scope)

    def _grant(self, account: str, client_id: str, scope: str, refresh_token: str | None = None) -> str:
        cap = self.state.switches.refresh_tokens_per_account
        return oauth.grant(
            self.state, account=account, client_id=client_id, scope=scope, cap=cap, refresh_token=refresh_token
        ).refresh_token

    @locked
    def issue_refresh_token(
        self, account: str, *, client_id: str = "sandbox-client", scope: str = CALENDAR_SCOPE
    ) -> str:
        """One more refresh token for an account, as after a reconnect."""
        self.changes += 1
        self._known_account(account)
        self.state.clients.setdefault(client_id, Client(client_id, "sandbox-secret"))
        return self._grant(account, client_id, scope)

    @locked
    def issue_access_token(self, account: str, *, scope: str = CALENDAR_SCOPE) -> str:
        """An access token for trying things out by hand."""
        self.changes += 1
        self._known_account(account)
        live = [one for one in self.state.grants.values() if one.account == account and not one.revoked]
        found = next((one for one in live if one.scope == scope), None)
        granted = found or self.state.grants[self._grant(account, "sandbox-client", scope)]
        return oauth.access(self.state, granted, now=self.now())[0]

    @locked
    def issue_code(
        self,
        account: str,
        *,
        client_id: str,
        redirect_uri: str,
        scope: str = CALENDAR_SCOPE,
        offline: bool = True,
        prompt_consent: bool = False,
        code_challenge: str | None = None,
        code_challenge_method: str = "plain",
    ) -> str:
        """What the consent screen hands to the callback. Consenting again without the prompt gives no refresh token."""
        self.changes += 1
        self._known_account(account)
        live = [one for one in self.state.grants.values() if not one.revoked]
        again = any((one.account, one.client_id) == (account, client_id) for one in live)
        refreshable = offline and (prompt_consent or not again)
        made = Code(account, client_id, redirect_uri, scope, refreshable, code_challenge, code_challenge_method)
        return oauth.code(self.state, made)

    @locked
    def revoke(self, refresh_token: str) -> None:
        """The user removes the application: the token is dead."""
        self.changes += 1
        granted = self.state.grants.get(refresh_token)
        if granted is None:
            message = "There is no such refresh token."
            raise Missing(message)
        granted.revoked = True

    @locked
    def revoke_account(self, account: str) -> int:
        """The user removes every application; how many refresh tokens died."""
        self.changes += 1
        live = [one for one in self.state.grants.values() if one.account == account and not one.revoked]
        for one in live:
            one.revoked = True
        return len(live)

    @locked
    def calendars(self) -> list[Json]:
        """All calendars, with their number of events."""
        return [
            {
                "id": one.id,
                "account": one.account,
                "summary": one.summary,
                "zone": one.zone,
                "events": len(one.events),
                "changes": one.seq,
                "primary": one.primary,
            }
            for one in self.state.calendars.values()
        ]

    @locked
    def credentials(self, calendar_id: str) -> Credentials:
        """The living credentials of a calendar's account; raises `Missing` if all were revoked."""
        calendar = self.calendar(calendar_id)
        for one in reversed(self.state.grants.values()):
            if one.account == calendar.account and not one.revoked:
                secret = self.state.clients[one.client_id].secret
                return Credentials(calendar.id, one.account, one.client_id, secret, one.refresh_token, one.scope)
        message = f"{calendar.account} has no living refresh token: use issue_refresh_token."
        raise Missing(message)

    @locked
    def set_zone(self, calendar_id: str, zone: str) -> None:
        """Change a calendar's zone: all-day events move, and no event is marked as changed."""
        zone_info(zone)
        self.changes += 1
        self.calendar(calendar_id).zone = zone

    @locked
    def change_access(self, calendar_id: str, access_role: type_of_role | None = None) -> None:
        """Change who may do what: sync tokens issued before answer 410 from now on."""
        self.changes += 1
        calendar = self.calendar(calendar_id)
        calendar.access_role = access_role or calendar.access_role
        calendar.token_generation += 1

    @locked
    def delete_calendar(self, calendar_id: str) -> None:
        """The calendar answers 404 from now on."""
        self.changes += 1
        self.calendar(calendar_id).deleted = True

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
    ) -> list[Credentials]:
        """Many alike for benchmarks; see `bulk.create_calendars`."""
        return bulk.create_calendars(
            self, count, events, series=series, prefix=prefix, first=first, zone=zone, client_id=client_id
        )

    @locked
    def add_demo(self, now: datetime | None = None) -> Credentials:
        """demo@example.com in the week of `now`; see `bulk.add_demo`."""
        return bulk.add_demo(self, now or self.now())

    @locked
    def load(
        self, text: str, *, calendar_id: str | None = None, account: str | None = None, shift_to_now: bool = False
    ) -> Loaded:
        """An .ics export's events into a calendar, a new one unless named; see `ics.read`."""
        self.changes += 1
        export = ics.read(text, zone=self.calendar(calendar_id).zone if calendar_id else None)
        weeks = ics.weeks_to(export, self.now()) if shift_to_now else 0
        if calendar_id is None:
            made = self.create_calendar(account=account, summary=export.name, zone=export.zone)
            calendar_id = made.calendar_id
        calendar = self.calendar(calendar_id)
        added, skipped = ics.add(calendar, ics.shifted(export, weeks), self.now())
        return Loaded(calendar_id, added, [*export.skipped, *skipped], weeks)

    # -- events --------------------------------------------------------------------------------------------

    @locked
    def create_event(
        self,
        calendar_id: str,
        *,
        title: str = "Meeting",
        start: str,
        end: str | None = None,
        minutes: int = 30,
        zone: str | None = None,
        recurrence: list[str] | None = None,
        attendees: list[str] | None = None,
        organizer: str | None = None,
        location: str | None = None,
        description: str | None = None,
        link: str | None = None,
        event_id: str | None = None,
        fields: Json | None = None,
    ) -> Json:
        """Add an event; `start` is a date (all-day), a wall time in `zone`, or a time with an offset.

        `attendees` are addresses; the calendar's own is added as having accepted. `fields` is raw Google JSON
        that goes on top. Answers the event as events.get would.
        """
        calendar = self.calendar(calendar_id)
        body = drafts.body(
            account=calendar.account,
            zone=zone or calendar.zone,
            title=title,
            start=start,
            end=end,
            minutes=minutes,
            recurrence=recurrence,
            attendees=attendees,
            organizer=organizer,
            location=location,
            description=description,
            link=link,
        )
        self.changes += 1
        made = edits.insert(calendar, body | (fields or {}), self.now(), event_id=event_id)
        return self._shown(calendar, made.id)

    @locked
    def event(self, calendar_id: str, event_id: str) -> Json:
        """One event, instance or series as events.get would show it; raises `Missing`."""
        return self._shown(self.calendar(calendar_id), event_id)

    @locked
    def events(self, calendar_id: str) -> list[Json]:
        """All stored rows: singles, masters and exceptions, cancelled ones too."""
        calendar = self.calendar(calendar_id)
        return [render.item(calendar, Occurrence(one), zone=calendar.zone) for one in calendar.events.values()]

    @locked
    def patch_event(self, calendar_id: str, event_id: str, fields: Json) -> Json:
        """Set raw fields in Google's JSON; null removes one."""
        calendar = self._changed(calendar_id)
        return self._shown(calendar, edits.patch(calendar, event_id, fields, self.now()).id)

    @locked
    def move_event(
        self, calendar_id: str, event_id: str, *, by: timedelta | None = None, to: str | None = None
    ) -> Json:
        """Move an event, an instance, or a whole series (by the master's id); its length stays."""
        calendar = self._changed(calendar_id)
        event, _ = edits.find(calendar, event_id)
        zone = event.start.zone if isinstance(event.start, Moment) else calendar.zone
        target = parse(to, zone) if to is not None else None
        return self._shown(calendar, edits.move(calendar, event_id, self.now(), by=by, to=target).id)

    @locked
    def retitle_event(self, calendar_id: str, event_id: str, title: str) -> Json:
        """Give it another title."""
        return self.patch_event(calendar_id, event_id, {"summary": title})

    @locked
    def set_link(self, calendar_id: str, event_id: str, link: str | None) -> Json:
        """Give it another meeting link, or none."""
        fields = conference(link) if link else {"hangoutLink": None, "conferenceData": None}
        return self.patch_event(calendar_id, event_id, fields)

    @locked
    def respond(
        self, calendar_id: str, event_id: str, response: Literal["needsAction", "declined", "tentative", "accepted"]
    ) -> Json:
        """The calendar's owner answers the invitation."""
        calendar = self._changed(calendar_id)
        return self._shown(calendar, edits.respond(calendar, event_id, response, self.now()).id)

    @locked
    def cancel_event(self, calendar_id: str, event_id: str) -> Json:
        """Cancel (Google's delete is the same) an event, an instance, or a whole series."""
        calendar = self._changed(calendar_id)
        return self._shown(calendar, edits.cancel(calendar, event_id, self.now()).id)

    @locked
    def restore_event(self, calendar_id: str, event_id: str) -> Json:
        """Bring a cancelled one back."""
        calendar = self._changed(calendar_id)
        return self._shown(calendar, edits.restore(calendar, event_id, self.now()).id)

    @locked
    def split_series(self, calendar_id: str, instance_id: str, fields: Json | None = None) -> Json:
        """Do "this and following": from this instance on a new series, with `fields` changed. Answers its master."""
        calendar = self._changed(calendar_id)
        return self._shown(calendar, edits.split(calendar, instance_id, fields or {}, self.now()).id)

    @locked
    def listing(
        self, calendar_id: str, *, time_min: datetime | None = None, time_max: datetime | None = None
    ) -> list[Json]:
        """The oracle: all items that events.list with singleEvents=true would give for the window, by start."""
        calendar = self.calendar(calendar_id)
        query = Query(low=time_min, high=time_max, single_events=True)
        switches = self.switches_of(calendar_id)
        return listing.Listing(calendar, query, switches, now=self.now(), epoch=self.state.epoch).oracle()

    @locked
    def find_event(self, calendar_id: str, name: str, *, cancelled: bool = False) -> str:
        """The id of the one event that `name` means: an id, or a part of a title; raises `Missing`/`Unusable`.

        Of a series, its master. Living events are preferred to cancelled ones, those to come to those past.
        With `cancelled`, only cancelled ones count, and of several the one that was cancelled last.
        """
        calendar = self.calendar(calendar_id)
        try:
            edits.find(calendar, name)
        except Missing:
            return drafts.choose(calendar, name, self.now(), cancelled=cancelled)
        return name

    @locked
    def next_instance(self, calendar_id: str, event_id: str) -> str:
        """The id of a series' next instance that is not over; the event's own id if it is no series."""
        calendar = self.calendar(calendar_id)
        event, original = edits.find(calendar, event_id)
        if original is not None or not event.recurrence:
            return event_id
        later = [
            one for one in self.listing(calendar_id, time_min=self.now()) if one.get("recurringEventId") == event_id
        ]
        if not later:
            message = f"The series {event_id} has no instance to come."
            raise Missing(message)
        return str(later[0]["id"])

    # -- behaviour -----------------------------------------------------------------------------------------

    @locked
    def switches(self, calendar_id: str | None = None) -> Switches:
        """The switches as they stand, for all or for one calendar."""
        return self.state.switches if calendar_id is None else self.switches_of(calendar_id)

    @locked
    def set_switches(self, changes: Json, calendar_id: str | None = None) -> Switches:
        """Set some switches, for all or for one calendar; raises `Unusable` for what there isn't."""
        self.changes += 1
        if calendar_id is None:
            self.state.switches = with_changes(self.state.switches, changes)
            return self.state.switches
        self.calendar(calendar_id)
        made = with_changes(self.switches_of(calendar_id), changes)
        self.state.calendar_switches[calendar_id] = self.state.calendar_switches.get(calendar_id, {}) | changes
        return made

    def switches_of(self, calendar_id: str) -> Switches:
        """What holds for one calendar. The caller holds the lock."""
        own = self.state.calendar_switches.get(calendar_id)
        return self.state.switches if not own else with_changes(self.state.switches, own)

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
    ) -> Fault:
        """Let the next `times` fitting requests fail (None: all until cleared); see `faults.KINDS`."""
        return self.faults.add(
            Fault(kind, endpoint, calendar_id, client_id, refresh_token, times, seconds, retry_after, description)
        )

    @locked
    def clear_faults(self, fault_id: int | None = None) -> int:
        """Forget one fault or all; how many there were."""
        return self.faults.clear(fault_id)

    @locked
    def fault_list(self) -> list[Fault]:
        """The faults still to come."""
        return list(self.faults.waiting)

    @staticmethod
    def fault_kinds() -> Json:
        """Which faults there are, by family."""
        return faults.known()

    # -- push ----------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Send off what watchers are to hear. The caller holds the lock."""
        if self._told == self.changes:
            return
        self._told = self.changes
        for calendar_id, parcel in watch.changed(self.state, now=self.now(), base=f"{self.base_url}/google"):
            self.courier.send(parcel, self.switches_of(calendar_id).push)

    @locked
    def channels(self) -> list[Json]:
        """Google's living watch channels; never their tokens."""
        now = self.now()
        return [
            {"id": one.id, "calendar_id": one.calendar_id, "address": one.address, "expires_at": one.expires_at}
            for one in self.state.channels.values()
            if one.expires_at > now
        ]

    def pushes(self, settle_s: float = 0.0) -> Tally:
        """What became of all notifications; waits up to `settle_s` until none is on its way."""
        self.courier.settle(within_s=settle_s)
        return self.courier.tally()

    def forge(self, calendar_id: str, what: Literal["token", "channel", "resource"] = "token") -> int:
        """Somebody else posts to the calendar's newest channel, with one thing wrong; the status they get."""
        with self.lock:
            mine = [one for one in self.state.channels.values() if one.calendar_id == self.calendar(calendar_id).id]
            if not mine:
                message = f"Nobody watches {calendar_id}."
                raise Missing(message)
            genuine = watch.message(mine[-1], "exists", base=f"{self.base_url}/google")
        wrong = {"token": "X-Goog-Channel-Token", "channel": "X-Goog-Channel-ID", "resource": "X-Goog-Resource-ID"}
        return self.courier.deliver(Parcel(genuine.url, genuine.headers | {wrong[what]: "forged"}))

    def ring(self, calendar_id: str, times: int = 1) -> int:
        """Notify the calendar's watchers `times` times although nothing changed; how many parcels that makes."""
        with self.lock:
            mine = [one for one in self.state.channels.values() if one.calendar_id == self.calendar(calendar_id).id]
            weather = self.switches_of(calendar_id).push
            for channel in mine * times:
                self.courier.send(watch.message(channel, "exists", base=f"{self.base_url}/google"), weather)
        return len(mine) * times

    # -- what was asked ------------------------------------------------------------------------------------

    def saw(self, seen: Seen) -> None:
        """Note a request. The caller holds the lock."""
        self.log.append(seen)
        self._requests[seen.endpoint] += 1
        self._bytes[seen.endpoint] += seen.bytes
        if seen.endpoint in ("token", "revoke", "events.watch", "channels.stop"):
            self.changes += 1

    @locked
    def stats(self) -> Stats:
        """Requests and bytes sent by endpoint since the last reset."""
        return Stats(dict(self._requests), dict(self._bytes))

    @locked
    def reset_stats(self) -> None:
        """Start counting anew, and forget the request log."""
        self._requests.clear()
        self._bytes.clear()
        self.log.clear()

    @locked
    def requests(self, last: int = 100) -> list[Seen]:
        """The last requests, oldest first."""
        return list(self.log)[-last:]

    # -- inside --------------------------------------------------------------------------------------------

    def calendar(self, calendar_id: str) -> Calendar:
        """The calendar of this id; raises `Missing`. The caller holds the lock."""
        if (found := self.state.calendars.get(calendar_id)) is None:
            some = ", ".join(list(self.state.calendars)[:5]) or "none"
            message = f"There is no calendar {calendar_id!r}; there are: {some}."
            raise Missing(message)
        return found

    def _changed(self, calendar_id: str) -> Calendar:
        self.changes += 1
        return self.calendar(calendar_id)

    def _known_account(self, account: str) -> None:
        if account not in self.state.accounts:
            message = f"There is no account {account!r}: create_calendar makes one."
            raise Missing(message)

    def _shown(self, calendar: Calendar, event_id: str) -> Json:
        event, original = edits.find(calendar, event_id)
        return render.item(calendar, Occurrence(event, original), zone=calendar.zone)
