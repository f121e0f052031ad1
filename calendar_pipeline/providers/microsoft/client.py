"""Microsoft 365 and Outlook.com calendars as a `CalendarProvider`, over Microsoft Graph.

calendarView/delta is a change detector only: its occurrences are bare, its masters are no meetings, and one deleted
occurrence has no entry at all. A round with any entry is therefore answered by a complete listing of the window. Only
the time of a change is taken from the round: the listing's documentation says not to ask for it there.
The delta link's window is frozen, so the listing keeps to that window until the link is made anew.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast
from urllib.parse import quote, urlencode

from calendar_pipeline.errors import AccessRevoked, ContractBroken, CursorExpired, PageRefused, TryLater
from calendar_pipeline.event import Item, Platform
from calendar_pipeline.providers import missing as absent
from calendar_pipeline.providers import pages
from calendar_pipeline.providers.json_values import Json, objects, rfc3339, text
from calendar_pipeline.providers.microsoft import classify, parse
from calendar_pipeline.providers.microsoft.oauth import Entra
from calendar_pipeline.providers.pages import Page
from calendar_pipeline.providers.port import Credentials, Cursor, Grant, Known, Meter, News, Window
from calendar_pipeline.providers.transport import Transport

PAGE_SIZE = 1000
SMALL_PAGE_SIZE = 100
"""For a calendar whose events are so large that Graph, or we, cannot take a full page of them."""

DELTA_PAGE_SIZE = 500
CALENDARS_PAGE_SIZE = 100

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

    def authorize(self, credentials: Credentials, *, now: datetime, meter: Meter, claims: str | None = None) -> Grant:
        """See `Entra.refresh`."""
        return self._entra.refresh(credentials, now=now, meter=meter, claims=claims)

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
        try:
            return self._news(grant, calendar, since, window, meter, relist=relist)
        except AccessRevoked as refused:
            if calendar is None or not classify.is_absent(refused):
                raise
            if calendar in self._calendars(grant, meter):
                raise TryLater("calendar_listed_yet_not_found") from None
            raise

    def _news(
        self, grant: Grant, calendar: str | None, since: Cursor | None, window: Window, meter: Meter, *, relist: bool
    ) -> News:
        why = "asked"
        if since is not None and since.window is not None and not relist:
            try:
                entries, link = self._round(grant, since.token, meter)
            except CursorExpired:
                why = "cursor_expired"
            else:
                cursor = Cursor(token=link, parameters=PARAMETERS, window=since.window)
                if not entries:
                    return News(items=(), cursor=cursor)
                stamps = parse.stamps(entries)
                items = [parse.dated(item, stamps) for item in self._listing(grant, calendar, since.window, meter)]
                return News(items=items, cursor=cursor, complete=since.window, why="changes")
        # First the delta link, then the listing: a change in between is seen twice and never not at all.
        _, link = self._delta(grant, self._delta_url(calendar, window), meter)
        items = self._listing(grant, calendar, window, meter)
        return News(
            items=items,
            cursor=Cursor(token=link, parameters=PARAMETERS, window=window),
            complete=window,
            why=why,
            announced=self._announced(grant, since, meter) if relist else None,
        )

    def _announced(self, grant: Grant, since: Cursor | None, meter: Meter) -> frozenset[str] | None:
        """Nothing, if the old link has nothing to tell even after the listing; else it says too little to compare.

        A round with entries may stand for more than it names: only an empty one says that all is as it was.
        """
        if since is None or since.window is None:
            return None
        try:
            entries, _ = self._round(grant, since.token, meter)
        except CursorExpired:
            return None
        return None if entries else frozenset()

    def look_up(
        self,
        grant: Grant,
        calendar: str | None,
        missing: Sequence[Known],
        *,
        time_zone: str | None,  # noqa: ARG002 - Graph names each event's own zone
        meter: Meter,
    ) -> Sequence[Item]:
        """See `missing.look_up`."""
        return absent.look_up(
            missing,
            lambda event: self._get(grant, calendar, event, meter),
            lambda raw: parse.item(raw, hosts=self._hosts),
        )

    def _round(self, grant: Grant, link: str, meter: Meter) -> tuple[list[Json], str]:
        """An incremental round. One that is refused half-way, twice, is as good as a link that is not honoured."""
        try:
            return self._delta(grant, link, meter, with_cursor=True)
        except PageRefused as refused:
            raise CursorExpired(refused.code) from None

    def _delta(self, grant: Grant, url: str, meter: Meter, *, with_cursor: bool = False) -> tuple[list[Json], str]:
        """Read a round to its end: its entries, and the next round's link."""
        prefer = f"{PREFER}, odata.maxpagesize={DELTA_PAGE_SIZE}"

        def read(at: str | None) -> Page:
            return self._page(grant, at or url, meter, prefer=prefer, with_cursor=with_cursor or at is not None)

        entries, last = pages.listing(read, self._entries)
        link = text(last.body, "@odata.deltaLink")
        if link is None:
            raise ContractBroken("no_delta_link")
        self._check(link)
        return entries, link

    def _listing(self, grant: Grant, calendar: str | None, window: Window, meter: Meter) -> list[Item]:
        try:
            return self._listing_by(PAGE_SIZE, grant, calendar, window, meter)
        except TryLater as refused:
            if refused.status != 504 and refused.code != "answer_too_large":
                raise
            return self._listing_by(SMALL_PAGE_SIZE, grant, calendar, window, meter)

    def _listing_by(self, size: int, grant: Grant, calendar: str | None, window: Window, meter: Meter) -> list[Item]:
        query = {**_bounds(window), "$select": parse.SELECT, "$top": str(size), "$orderby": "start/dateTime"}
        url = f"{self._calendar_url(calendar)}/calendarView?{urlencode(query)}"
        raws, _ = pages.listing(lambda at: self._page(grant, at or url, meter), self._entries)
        told = (parse.item(raw, hosts=self._hosts) for raw in raws)
        return [item for item in told if item is not None]

    def _calendars(self, grant: Grant, meter: Meter) -> frozenset[str]:
        """Ids of all calendars that the account has now."""
        url = f"{self._base}/v1.0/me/calendars?{urlencode({'$select': 'id', '$top': str(CALENDARS_PAGE_SIZE)})}"
        found, _ = pages.listing(lambda at: self._page(grant, at or url, meter), self._entries)
        return frozenset(name for one in found if (name := text(one, "id")) is not None)

    def _page(self, grant: Grant, url: str, meter: Meter, *, prefer: str = PREFER, with_cursor: bool = False) -> Page:
        body = self._read(grant, url, meter, prefer=prefer, with_cursor=with_cursor)
        meter.pages += 1
        if not isinstance(body.get("value"), list):
            raise TryLater("not_a_page")
        return Page(body, text(body, "@odata.nextLink"))

    def _entries(self, page: Page) -> list[Json]:
        if page.next is not None:
            self._check(page.next)
        return objects(page.body, "value")

    def _get(self, grant: Grant, calendar: str | None, event_id: str, meter: Meter) -> Json | None:
        """One event or series by its id; None if it is gone."""
        url = f"{self._calendar_url(calendar)}/events/{quote(event_id, safe='')}?{urlencode({'$select': parse.SELECT})}"
        try:
            raw = self._read(grant, url, meter)
        except AccessRevoked as refused:
            if classify.is_absent(refused):
                return None
            raise
        return None if raw.get("isCancelled") is True else raw

    def _check(self, link: str) -> None:
        """A token is never sent to a host that a link names and we do not know; raises ContractBroken."""
        if not link.startswith(f"{self._base}/"):
            raise ContractBroken("foreign_link")

    def _read(self, grant: Grant, url: str, meter: Meter, *, prefer: str = PREFER, with_cursor: bool = False) -> Json:
        self._check(url)
        headers = {
            "authorization": f"Bearer {grant.access_token}",
            "prefer": prefer,
            "accept": "application/json",
            "accept-encoding": "gzip",
        }
        with meter.turn():
            answer = self._transport.request("GET", url, headers=headers)
        meter.count(len(answer.body))
        if answer.status != 200:
            error = classify.graph_error(
                answer.status, answer.headers, answer.body, with_cursor=with_cursor, now=self._clock()
            )
            error.status = answer.status
            raise error
        try:
            body: object = json.loads(answer.body)
        except (ValueError, RecursionError):  # bytes that are not UTF-8, numbers without end, nesting without end
            raise TryLater("not_json", "an answer that is not JSON") from None
        if not isinstance(body, dict):
            raise TryLater("not_json", "an answer that is not JSON")
        return cast("Json", body)

    def _calendar_url(self, calendar: str | None) -> str:
        me = f"{self._base}/v1.0/me"
        return me if calendar is None else f"{me}/calendars/{quote(calendar, safe='')}"

    def _delta_url(self, calendar: str | None, window: Window) -> str:
        return f"{self._calendar_url(calendar)}/calendarView/delta?{urlencode(_bounds(window))}"


def _bounds(window: Window) -> Mapping[str, str]:
    return {"startDateTime": rfc3339(window.start), "endDateTime": rfc3339(window.end)}
