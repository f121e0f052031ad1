"""events.list and events.instances: windows, pages, sync tokens, tombstones. Pure: nothing is changed here.

Rows have a stable order by id, and a page token names the last row told, not an offset: what is deleted
between two pages shifts nothing. The sync token at the end is the one of the first page's moment.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from sandbox import expand
from sandbox.google import render
from sandbox.google.errors import GoogleError, bad_sync_token, gone, invalid
from sandbox.google.query import Query
from sandbox.google.switches import Switches
from sandbox.google.tokens import PageToken, SyncToken, read, write
from sandbox.model import Calendar, Event
from sandbox.occurrence import Occurrence, instances
from sandbox.when import instant, stamp, suffix

Row = tuple[tuple[str, str], Callable[[], dict[str, Any]]]
"""The key of a row in the listing's order, and how to write it."""


class Listing:
    """One calendar as one query sees it at `now`, under `switches`."""

    def __init__(self, calendar: Calendar, query: Query, switches: Switches, *, now: datetime, epoch: str) -> None:
        self.calendar, self.query, self.switches, self.now, self.epoch = calendar, query, switches, now, epoch
        self.zone = query.zone or calendar.zone

    def page(self, *, empty: bool = False) -> dict[str, Any]:
        """One page with its envelope; raises the `GoogleError` that a bad token deserves.

        An `empty` one holds nothing, has a nextPageToken, and the next page goes on where this would have.
        """
        query, calendar = self.query, self.calendar
        since = self._since()
        at = self._page()
        seq = calendar.seq if at is None else at.seq
        rows: list[Row] = (
            []
            if since is not None and since.seq == calendar.seq
            else sorted(self._full() if since is None else self._changes(since), key=lambda row: row[0])
        )
        size = query.max_results if self.switches.page_size is None else min(query.max_results, self.switches.page_size)
        if empty or (at is None and self.switches.empty_first_page):
            size = 0
        if at is not None and at.told_any:
            rows = [row for row in rows if row[0] > at.after]
        told, rest = rows[:size], rows[size:]
        answer = self._envelope() | {"items": [write_row() for _, write_row in told]}
        if rest or (size == 0):
            before = at or PageToken(self.epoch, calendar.id, query.page_params, seq)
            after = told[-1][0] if told else before.after
            told_any = before.told_any or bool(told)
            token = PageToken(self.epoch, calendar.id, query.page_params, seq, after, told_any, before.pages + 1)
            answer["nextPageToken"] = write(token)
        elif query.gives_sync_token:
            answer["nextSyncToken"] = write(self._sync_token(seq, since))
        return answer

    def oracle(self) -> list[dict[str, Any]]:
        """All items of the window, unpaged, in the order of their start."""
        shown = sorted(self._occurrences(), key=lambda one: (instant(one.start, self.calendar.zone), one.id))
        return [self._item(one) for one in shown if not self._dead(one.event)]

    def instances(self, master: Event) -> dict[str, Any]:
        """events.instances: one series, cancelled instances only if asked for."""
        rows = sorted(self._full(master), key=lambda row: row[0])
        at = self._page()
        rows = [row for row in rows if at is None or row[0] > at.after]
        told = rows[: self.query.max_results]
        answer = self._envelope() | {"items": [write_row() for _, write_row in told]}
        if len(rows) > len(told):
            token = PageToken(
                self.epoch, self.calendar.id, self.query.page_params, self.calendar.seq, told[-1][0], told_any=True
            )
            answer["nextPageToken"] = write(token)
        return answer

    def _since(self) -> SyncToken | None:
        if (text := self.query.sync_token) is None:
            return None
        token, calendar, switches = read(text), self.calendar, self.switches
        if not isinstance(token, SyncToken):
            raise bad_sync_token()
        if token.epoch == self.epoch and token.calendar != calendar.id:
            raise bad_sync_token()
        age = (self.now - token.issued_at).total_seconds()
        too_old = switches.token_max_age_s is not None and age > switches.token_max_age_s
        if (
            token.epoch != self.epoch
            or token.generation != calendar.token_generation
            or token.seq > calendar.seq
            or too_old
        ):
            raise gone(with_reason=not switches.gone_without_reason)
        if switches.refuse_param_drift and token.params != self.query.sync_params:
            message = "Sync token was issued for a request with other parameters."
            raise GoogleError(400, "invalid", message, location="syncToken")
        return token

    def _page(self) -> PageToken | None:
        if (text := self.query.page_token) is None:
            return None
        token = read(text)
        fits = isinstance(token, PageToken) and (token.epoch, token.calendar) == (self.epoch, self.calendar.id)
        if not isinstance(token, PageToken) or not fits or token.params != self.query.page_params:
            message = "Invalid page token value."
            raise invalid(message, "pageToken", reason="invalid")
        return token

    def _sync_token(self, seq: int, since: SyncToken | None) -> SyncToken:
        low, high = (self.query.low, self.query.high) if since is None else (since.low, since.high)
        if not self.switches.token_keeps_window:
            low = high = None
        calendar = self.calendar
        params = self.query.sync_params if since is None else since.params
        return SyncToken(self.epoch, calendar.id, calendar.token_generation, seq, self.now, params, low, high)

    def _envelope(self) -> dict[str, Any]:
        return envelope(self.calendar)

    # -- full listings -------------------------------------------------------------------------------------

    def _full(self, series: Event | None = None) -> Iterator[Row]:
        query = self.query
        if query.updated_min is not None and self.now - query.updated_min > timedelta(
            days=self.switches.updated_min_days
        ):
            message = "The requested minimum modification time lies too far in the past."
            raise GoogleError(410, "updatedMinTooLongAgo", message, domain="calendar", location="updatedMin")
        for found in self._occurrences(series):
            event = found.event
            if query.updated_min is not None and event.updated_at < query.updated_min:
                continue
            master = self.calendar.events.get(event.series_id) if event.series_id else None
            shown = query.show_deleted or query.updated_min is not None
            exception = event.series_id is not None and not query.single_events and not (master and master.cancelled)
            if not self._dead(event):
                yield self._key(found), lambda found=found: self._item(found)
            elif shown or (exception and series is None):
                yield self._key(found), lambda found=found: self._tombstone(found)

    def _occurrences(self, series: Event | None = None) -> Iterator[Occurrence]:
        """All that lies in the window and passes the filters, dead or alive."""
        query, zone = self.query, self.calendar.zone
        single = query.single_events or series is not None
        taken: set[str] = set()
        masters: list[Event] = []
        for event in self.calendar.events.values():
            if series is not None and series.id not in (event.id, event.series_id):
                continue
            if event.series_id is not None:
                taken.add(event.id)
            if event.recurrence and single:
                masters.append(event)
            elif event.recurrence:
                if self._passes(event) and any(True for _ in self._instances(event, set())):
                    yield Occurrence(event)
            elif self._passes(event) and (found := Occurrence(event)).within(query.low, query.high, zone):
                yield found
        for master in masters:
            if self._passes(master) and (query.show_deleted or not master.cancelled):
                yield from self._instances(master, taken)

    def _instances(self, master: Event, taken: set[str]) -> Iterator[Occurrence]:
        query, cap = self.query, self.switches.expansion_cap
        return instances(master, self.calendar.zone, query.low, query.high, cap=cap, taken=taken)

    def _dead(self, event: Event) -> bool:
        """Cancelled itself, or an exception of a cancelled series."""
        master = self.calendar.events.get(event.series_id) if event.series_id else None
        return event.cancelled or (master is not None and master.cancelled)

    def _passes(self, event: Event) -> bool:
        query = self.query
        if query.event_types and event.fields.get("eventType", "default") not in query.event_types:
            return False
        if query.ical_uid is not None and event.ical_uid != query.ical_uid:
            return False
        if query.text is None:
            return True
        words = (str(event.fields.get(name, "")) for name in ("summary", "description", "location", "attendees"))
        return query.text.lower() in " ".join(words).lower()

    # -- incremental listings ------------------------------------------------------------------------------

    def _changes(self, since: SyncToken) -> Iterator[Row]:
        """What changed after the token, wherever it lies: the token knows no window."""
        events = self.calendar.events
        changed = [event for event in events.values() if event.seq > since.seq and self._passes(event)]
        for event in changed:
            if event.recurrence:
                yield from self._changed_series(event, since)
                continue
            master = events.get(event.series_id) if event.series_id else None
            if self.query.single_events and master is not None and (master.cancelled or master.seq > since.seq):
                continue
            yield self._changed(Occurrence(event), since)

    def _changed_series(self, master: Event, since: SyncToken) -> Iterator[Row]:
        if not self.query.single_events:
            yield self._changed(Occurrence(master), since)
            return
        events = self.calendar.events.values()
        own = {suffix(one.original): one for one in events if one.series_id == master.id and one.original is not None}
        cap, zone, days = self.switches.expansion_cap, self.calendar.zone, self.switches.deleted_series_days
        originals = expand.around(master.start, master.recurrence, self.now, cap, zone)
        if master.cancelled:
            how, reach = self.switches.deleted_series, timedelta(days=days)
            if how != "instances":
                yield self._changed(Occurrence(master), since)
            near = [one for one in originals if abs(instant(one, zone) - self.now) <= reach]
            instances = [Occurrence(master, original) for original in near if suffix(original) not in own]
            instances += [Occurrence(one) for one in own.values() if abs(instant(one.start, zone) - self.now) <= reach]
            for found in instances if how != "master" else []:
                yield self._key(found), lambda found=found: self._tombstone(found, living_series=True)
        else:
            for original in originals:
                if suffix(original) not in own:
                    yield self._changed(Occurrence(master, original), since)
            for event in own.values():
                yield self._changed(Occurrence(event), since)
        for retired in master.retired if self.switches.old_id_tombstones else []:
            if retired.seq > since.seq and suffix(retired.original) not in own:
                found = Occurrence(master, retired.original)
                yield self._key(found), lambda found=found: self._tombstone(found, living_series=True)

    def _changed(self, found: Occurrence, since: SyncToken) -> Row:
        outside = self.switches.token_keeps_window and not found.within(since.low, since.high, self.calendar.zone)
        if found.event.cancelled or outside:
            return self._key(found), lambda: self._tombstone(found)
        return self._key(found), lambda: self._item(found)

    # -- rows ----------------------------------------------------------------------------------------------

    def _key(self, found: Occurrence) -> tuple[str, str]:
        match self.query.order_by:
            case "startTime":
                return instant(found.start, self.calendar.zone).isoformat(), found.id
            case "updated":
                return found.event.updated_at.isoformat(), found.id
            case None:
                return "", found.id

    def _item(self, found: Occurrence) -> dict[str, Any]:
        return render.item(self.calendar, found, zone=self.zone, max_attendees=self.query.max_attendees)

    def _tombstone(self, found: Occurrence, *, living_series: bool | None = None) -> dict[str, Any]:
        event, how = found.event, self.switches.tombstones
        full = how == "full" or (how == "random" and crc32(f"{found.id}/{event.seq}".encode()) % 2 == 0)
        if living_series is None:
            master = self.calendar.events.get(event.series_id) if event.series_id else event
            living_series = master is not None and not master.cancelled
        return render.tombstone(self.calendar, found, zone=self.zone, full=full, living_series=living_series)


def envelope(calendar: Calendar) -> dict[str, Any]:
    """What events.list says about the calendar itself."""
    return {
        "kind": "calendar#events",
        "etag": f'"p{calendar.seq:08d}"',
        "summary": calendar.summary,
        "description": "",
        "updated": stamp(calendar.updated_at),
        "timeZone": calendar.zone,
        "accessRole": calendar.access_role,
        "defaultReminders": [{"method": "popup", "minutes": 10}],
    }
