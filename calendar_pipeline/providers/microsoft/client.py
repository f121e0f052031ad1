"""Microsoft 365 and Outlook.com calendars as a `CalendarProvider`, over Microsoft Graph.

calendarView/delta is a change detector only: its occurrences are bare, its masters are no meetings, and one deleted
occurrence has no entry at all. A round with any entry is therefore answered by a complete listing of the window.
The delta link's window is frozen, so the listing keeps to that window until the link is made anew.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast
from urllib.parse import quote, urlencode

from calendar_pipeline.errors import AccessRevoked, ContractBroken, CursorExpired, TryLater
from calendar_pipeline.event import Item, Platform
from calendar_pipeline.providers.json_values import Json, objects, text
from calendar_pipeline.providers.microsoft import classify, parse
from calendar_pipeline.providers.microsoft.oauth import Entra
from calendar_pipeline.providers.port import Credentials, Cursor, Grant, Known, Meter, News, Window
from calendar_pipeline.providers.transport import Transport

PAGE_SIZE = 1000
DELTA_PAGE_SIZE = 500
MAX_EMPTY_PAGES = 20
MAX_ITEMS = 50_000
MAX_LOOK_UPS = 20

PREFER = 'outlook.timezone="UTC", IdType="ImmutableId"'
"""On every request, next pages too: without it ids and zones change under way."""

PARAMETERS = "v1:immutable,utc"


class MicrosoftCalendar:
    """Reads one calendar at a time; safe to share among threads."""

    def __init__(
        self,
        transport: Transport,
        entra: Entra,
        *,
        graph_base_url: str,
        clock: Callable[[], datetime],
        meeting_hosts: Sequence[str] = (),
    ) -> None:
        self._transport = transport
        self._entra = entra
        self._base = graph_base_url.rstrip("/")
        self._clock = clock
        self._hosts = tuple(meeting_hosts)

    @property
    def platform(self) -> Platform:
        """``microsoft``."""
        return "microsoft"

    @property
    def parameters(self) -> str:
        """Names the listing parameters in force."""
        return PARAMETERS

    def authorize(self, credentials: Credentials, *, now: datetime, meter: Meter) -> Grant:
        """See `Entra.refresh`."""
        return self._entra.refresh(credentials, now=now, meter=meter)

    def news(
        self,
        grant: Grant,
        calendar: str | None,
        *,
        since: Cursor | None,
        window: Window,
        relist: bool = False,
        meter: Meter,
    ) -> News:
        """Nothing if the delta round is empty, else a listing of the window that the delta link covers."""
        why = "asked"
        announced: frozenset[str] | None = None
        if since is not None and since.window is not None:
            try:
                touched, link = self._delta(grant, since.token, meter)
            except CursorExpired:
                why = "cursor_expired"
            else:
                if not relist:
                    return self._since(grant, calendar, since.window, meter, touched=touched, link=link)
                # A round with entries may stand for more than it names: only an empty one says that all is as it was.
                announced = None if touched else frozenset()
        # First the delta link, then the listing: a change in between is seen twice and never not at all.
        _, link = self._delta(grant, self._delta_url(calendar, window), meter)
        items = self._listing(grant, calendar, window, meter)
        cursor = Cursor(token=link, parameters=PARAMETERS, window=window)
        return News(items=items, cursor=cursor, complete=window, why=why, announced=announced)

    def _since(
        self, grant: Grant, calendar: str | None, window: Window, meter: Meter, *, touched: bool, link: str
    ) -> News:
        """The news of a delta round: none, or all of the window that its link is frozen to."""
        cursor = Cursor(token=link, parameters=PARAMETERS, window=window)
        if not touched:
            return News(items=(), cursor=cursor)
        return News(items=self._listing(grant, calendar, window, meter), cursor=cursor, complete=window, why="changes")

    def look_up(
        self,
        grant: Grant,
        calendar: str | None,
        missing: Sequence[Known],
        *,
        time_zone: str | None,  # noqa: ARG002 - Graph names each event's own zone
        meter: Meter,
    ) -> Sequence[Item]:
        """Events that moved out of the window are found by their id; a series that is gone costs one question."""
        if len(missing) > MAX_LOOK_UPS:
            return ()
        found: list[Item] = []
        gone: set[str] = set()
        for known in missing:
            series = known.series_id
            if series is not None and series not in gone and self._get(grant, calendar, series, meter) is None:
                gone.add(series)
            if series in gone:
                continue
            raw = self._get(grant, calendar, known.provider_event_id, meter)
            told = parse.item(raw, hosts=self._hosts) if raw is not None else None
            if told is not None:
                found.append(told)
        return found

    def _delta(self, grant: Grant, url: str, meter: Meter) -> tuple[bool, str]:
        """Read a round to its end: whether it told of anything, and the next round's link."""
        touched = False
        for page in self._pages(grant, url, meter, prefer=f"{PREFER}, odata.maxpagesize={DELTA_PAGE_SIZE}", delta=True):
            touched = touched or bool(objects(page, "value"))
            if link := text(page, "@odata.deltaLink"):
                return touched, link
        raise ContractBroken("no_delta_link")

    def _listing(self, grant: Grant, calendar: str | None, window: Window, meter: Meter) -> list[Item]:
        query = {**_bounds(window), "$select": parse.SELECT, "$top": str(PAGE_SIZE), "$orderby": "start/dateTime"}
        url = f"{self._calendar_url(calendar)}/calendarView?{urlencode(query)}"
        told = (
            parse.item(raw, hosts=self._hosts)
            for page in self._pages(grant, url, meter, prefer=PREFER, delta=False)
            for raw in objects(page, "value")
        )
        return [item for item in told if item is not None]

    def _pages(self, grant: Grant, url: str, meter: Meter, *, prefer: str, delta: bool) -> Iterator[Json]:
        """All pages from `url` on. A page is the last one if it names no next one."""
        empty = count = 0
        while True:
            page = self._read(grant, url, meter, prefer=prefer, delta=delta)
            meter.pages += 1
            found = len(objects(page, "value"))
            if not isinstance(page.get("value"), list):
                raise TryLater("not_a_page")
            yield page
            link = text(page, "@odata.nextLink")
            if link is None:
                return
            empty = 0 if found else empty + 1
            count += found
            if empty > MAX_EMPTY_PAGES or count > MAX_ITEMS:
                raise TryLater("endless_pages")
            url = link

    def _get(self, grant: Grant, calendar: str | None, event_id: str, meter: Meter) -> Json | None:
        """One event or series by its id; None if it is gone."""
        url = f"{self._calendar_url(calendar)}/events/{quote(event_id, safe='')}?{urlencode({'$select': parse.SELECT})}"
        try:
            raw = self._read(grant, url, meter, prefer=PREFER, delta=False)
        except AccessRevoked as refused:
            if refused.code.lower() in classify.NO_CALENDAR:
                return None
            raise
        return None if raw.get("isCancelled") is True else raw

    def _read(self, grant: Grant, url: str, meter: Meter, *, prefer: str, delta: bool) -> Json:
        if not url.startswith(f"{self._base}/"):
            # A token is never sent to a host that a link names and we do not know.
            raise ContractBroken("foreign_link")
        headers = {
            "authorization": f"Bearer {grant.access_token}",
            "prefer": prefer,
            "accept": "application/json",
            "accept-encoding": "gzip",
        }
        meter.admit()
        answer = self._transport.request("GET", url, headers=headers)
        meter.count(len(answer.body))
        if answer.status != 200:
            raise classify.graph_error(answer.status, answer.headers, answer.body, with_cursor=delta, now=self._clock())
        try:
            body: object = json.loads(answer.body)
        except ValueError:
            raise TryLater("not_json") from None
        if not isinstance(body, dict):
            raise TryLater("not_json")
        return cast("Json", body)

    def _calendar_url(self, calendar: str | None) -> str:
        me = f"{self._base}/v1.0/me"
        return me if calendar is None else f"{me}/calendars/{quote(calendar, safe='')}"

    def _delta_url(self, calendar: str | None, window: Window) -> str:
        return f"{self._calendar_url(calendar)}/calendarView/delta?{urlencode(_bounds(window))}"


def _bounds(window: Window) -> Mapping[str, str]:
    return {"startDateTime": _stamp(window.start), "endDateTime": _stamp(window.end)}


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
