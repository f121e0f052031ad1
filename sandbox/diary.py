"""What people do to the events of a calendar, whichever provider keeps it."""

from datetime import datetime, timedelta
from typing import Literal

from sandbox import drafts, edits
from sandbox.dialects import DIALECTS
from sandbox.errors import Missing
from sandbox.ground import Ground, locked
from sandbox.model import Calendar
from sandbox.occurrence import Occurrence
from sandbox.replies import Json
from sandbox.when import Moment, parse


class Diary(Ground):
    """Events are named by the provider's ids, and told in its JSON."""

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

        `attendees` are addresses; the calendar's own is added as having accepted. `fields` is raw JSON in the
        provider's words that goes on top. Answers the event as a GET would.
        """
        calendar = self._changed(calendar_id)
        dialect = DIALECTS[calendar.provider]
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
            linked=dialect.linked(link) if link is not None else {},
        )
        made = edits.insert(calendar, body | dialect.fields(calendar, fields or {}), self.now(), event_id=event_id)
        return self._row(calendar, made.id)

    @locked
    def event(self, calendar_id: str, event_id: str) -> Json:
        """One event, instance or series as a GET would show it; raises `Missing`."""
        calendar, own_id = self._event(calendar_id, event_id)
        return DIALECTS[calendar.provider].shown(calendar, own_id)

    @locked
    def events(self, calendar_id: str) -> list[Json]:
        """All stored rows: singles, masters and exceptions, cancelled ones too."""
        calendar = self.calendar(calendar_id)
        return [DIALECTS[calendar.provider].row(calendar, Occurrence(one)) for one in calendar.events.values()]

    @locked
    def patch_event(self, calendar_id: str, event_id: str, fields: Json) -> Json:
        """Set raw fields in the provider's JSON; null removes one."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        told = DIALECTS[calendar.provider].fields(calendar, fields)
        return self._row(calendar, edits.patch(calendar, own_id, told, self.now()).id)

    @locked
    def move_event(
        self, calendar_id: str, event_id: str, *, by: timedelta | None = None, to: str | None = None
    ) -> Json:
        """Move an event, an instance, or a whole series (by the master's id); its length stays."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        event, _ = edits.find(calendar, own_id)
        zone = event.start.zone if isinstance(event.start, Moment) else calendar.zone
        target = parse(to, zone) if to is not None else None
        return self._row(calendar, edits.move(calendar, own_id, self.now(), by=by, to=target).id)

    @locked
    def retitle_event(self, calendar_id: str, event_id: str, title: str) -> Json:
        """Give it another title."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        return self._row(calendar, edits.patch(calendar, own_id, {"summary": title}, self.now()).id)

    @locked
    def set_link(self, calendar_id: str, event_id: str, link: str | None) -> Json:
        """Give it another meeting link, or none."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        linked = DIALECTS[calendar.provider].linked(link)
        return self._row(calendar, edits.patch(calendar, own_id, linked, self.now()).id)

    @locked
    def respond(
        self, calendar_id: str, event_id: str, response: Literal["needsAction", "declined", "tentative", "accepted"]
    ) -> Json:
        """The calendar's owner answers the invitation."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        return self._row(calendar, edits.respond(calendar, own_id, response, self.now()).id)

    @locked
    def cancel_event(self, calendar_id: str, event_id: str) -> Json:
        """The organizer cancels an event, an instance, or a whole series.

        At Google, and of one's own at Microsoft, this is the same as to delete it. A meeting of others stays in a
        Microsoft calendar, marked as cancelled.
        """
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        return self._row(calendar, DIALECTS[calendar.provider].cancel(calendar, own_id, self.now()).id)

    @locked
    def delete_event(self, calendar_id: str, event_id: str) -> Json:
        """Delete an event, an instance, or a whole series from this calendar."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        return self._row(calendar, edits.cancel(calendar, own_id, self.now()).id)

    @locked
    def restore_event(self, calendar_id: str, event_id: str) -> Json:
        """Bring a cancelled one back."""
        calendar, own_id = self._event(calendar_id, event_id, change=True)
        return self._row(calendar, edits.restore(calendar, own_id, self.now()).id)

    @locked
    def split_series(self, calendar_id: str, instance_id: str, fields: Json | None = None) -> Json:
        """Do "this and following": from this instance on a new series, with `fields` changed. Answers its master."""
        calendar, own_id = self._event(calendar_id, instance_id, change=True)
        told = DIALECTS[calendar.provider].fields(calendar, fields or {})
        return self._row(calendar, edits.split(calendar, own_id, told, self.now()).id)

    @locked
    def listing(
        self, calendar_id: str, *, time_min: datetime | None = None, time_max: datetime | None = None
    ) -> list[Json]:
        """The oracle: all single events and instances that the provider has in the window, by start."""
        calendar = self.calendar(calendar_id)
        return DIALECTS[calendar.provider].listing(self, calendar, time_min, time_max)

    @locked
    def find_event(self, calendar_id: str, name: str, *, cancelled: bool = False) -> str:
        """The id of the one event that `name` means: an id, or a part of a title; raises `Missing`/`Unusable`.

        Of a series, its master. Living events are preferred to cancelled ones, those to come to those past.
        With `cancelled`, only cancelled ones count, and of several the one that was cancelled last.
        """
        calendar, own_id = self._event(calendar_id, name)
        try:
            edits.find(calendar, own_id)
        except Missing:
            own_id = drafts.choose(calendar, name, self.now(), cancelled=cancelled)
        return DIALECTS[calendar.provider].event_id(calendar, own_id)

    @locked
    def next_instance(self, calendar_id: str, event_id: str) -> str:
        """The id of a series' next instance that is not over; the event's own id if it is no series."""
        calendar, own_id = self._event(calendar_id, event_id)
        dialect = DIALECTS[calendar.provider]
        event, original = edits.find(calendar, own_id)
        if original is not None or not event.recurrence:
            return event_id
        series = dialect.event_id(calendar, own_id)
        later = [one for one in self.listing(calendar_id, time_min=self.now()) if one.get(dialect.SERIES) == series]
        if not later:
            message = f"The series {event_id} has no instance to come."
            raise Missing(message)
        return str(later[0]["id"])

    # -- inside --------------------------------------------------------------------------------------------

    def _event(self, calendar_id: str, event_id: str, *, change: bool = False) -> tuple[Calendar, str]:
        """The calendar and the sandbox's own id of the event."""
        calendar = self._changed(calendar_id) if change else self.calendar(calendar_id)
        return calendar, DIALECTS[calendar.provider].own_id(calendar, event_id)

    def _row(self, calendar: Calendar, own_id: str) -> Json:
        event, original = edits.find(calendar, own_id)
        return DIALECTS[calendar.provider].row(calendar, Occurrence(event, original))
