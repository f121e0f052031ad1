"""Google Calendar as a `CalendarProvider`, by google-api-python-client.

Retries belong to the schedule, not to a sleeping thread.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from calendar_pipeline.errors import ContractBroken, CursorExpired, TryLater
from calendar_pipeline.event import Awkward, Event, Item, Platform, Tombstone
from calendar_pipeline.providers import missing as absent
from calendar_pipeline.providers import pages
from calendar_pipeline.providers.google import classify, oauth, parse, service
from calendar_pipeline.providers.json_values import Json, objects, rfc3339, text
from calendar_pipeline.providers.pages import Page
from calendar_pipeline.providers.port import Credentials, Cursor, Grant, Known, Meter, News, Window
from calendar_pipeline.providers.transport import Transport

PAGE_SIZE = 2500
FEW = 50
"""An incremental answer with more items than this is answered by one listing: cheaper, and complete."""

FIELDS = "timeZone,nextPageToken,nextSyncToken,items"
"""Must name both tokens. Short: a request line over 2048 characters would be turned into a POST."""

PARAMETERS = "v1:singleEvents,items"
"""Change it whenever the parameters of the listing change: old sync tokens are then dropped."""


class GoogleCalendar:
    """Reads one calendar at a time; safe to share among threads."""

    def __init__(
        self,
        transport: Transport,
        *,
        api_base_url: str,
        token_url: str,
        clock: Callable[[], datetime],
        meeting_hosts: Sequence[str] = (),
    ) -> None:
        self._transport = transport
        self._events = service.events(api_base_url.rstrip("/"))
        self._token_url = token_url
        self._clock = clock
        self._hosts = tuple(meeting_hosts)

    @property
    def platform(self) -> Platform:
        """``google``."""
        return "google"

    @property
    def parameters(self) -> str:
        """Names the listing parameters in force."""
        return PARAMETERS

    def authorize(
        self,
        credentials: Credentials,
        *,
        now: datetime,
        meter: Meter,
        claims: str | None = None,  # noqa: ARG002 - Google asks for none
    ) -> Grant:
        """See `oauth.refresh`."""
        return oauth.refresh(self._transport, self._token_url, credentials, now=now, meter=meter)

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
        """Incremental where one page settles it, else a listing of the window; see `needs_listing`."""
        told: list[Item] = []
        announced: frozenset[str] | None = None
        why = "asked"
        if since is not None:
            try:
                page = self._page(grant, calendar, meter, {"syncToken": since.token}, with_cursor=True)
            except CursorExpired:
                why = "cursor_expired"
            else:
                told = self._items(page)
                reason = needs_listing(page, told, zone=since.time_zone)
                if reason is None and not relist:
                    return News(items=told, cursor=_cursor(page, since.window))
                why = reason or why
                if relist and "nextPageToken" not in page and reason != "zone_changed":
                    announced = _named(page)
        items, last = self._listing(grant, calendar, window, meter)
        listed = {item.provider_event_id for item in items}
        more = [item for item in told if item.provider_event_id not in listed and _adds(item, window)]
        return News(items=more + items, cursor=_cursor(last, window), complete=window, why=why, announced=announced)

    def _listing(self, grant: Grant, calendar: str | None, window: Window, meter: Meter) -> tuple[list[Item], Json]:
        """All events of the window, and the last page, which holds the new sync token."""
        asked: dict[str, object] = {"timeMin": rfc3339(window.start), "timeMax": rfc3339(window.end)}

        def read(at: str | None) -> Page:
            more = {} if at is None else {"pageToken": at}
            page = self._page(grant, calendar, meter, {**asked, **more}, with_cursor=False)
            return Page(page, text(page, "nextPageToken"))

        items, last = pages.listing(read, lambda page: self._items(page.body))
        return items, last.body

    def look_up(
        self, grant: Grant, calendar: str | None, missing: Sequence[Known], *, time_zone: str | None, meter: Meter
    ) -> Sequence[Item]:
        """See `missing.look_up`."""
        return absent.look_up(
            missing,
            lambda event: self._get(grant, calendar, event, meter),
            # A single event that repeats by now is a series: its id names no meeting any more.
            lambda raw: None if "recurrence" in raw else parse.item(raw, zone=time_zone, hosts=self._hosts),
        )

    def _get(self, grant: Grant, calendar: str | None, event_id: str, meter: Meter) -> Json | None:
        """One event or series by its id; None if it is cancelled."""
        request = self._events.get(calendarId=calendar or "primary", eventId=event_id, prettyPrint=False)
        raw = self._execute(request, grant, meter, with_cursor=False)
        return None if raw.get("status") == "cancelled" else raw

    def _items(self, page: Json) -> list[Item]:
        if (text(page, "nextPageToken") is None) == (text(page, "nextSyncToken") is None):
            raise ContractBroken("page_without_token", "a page must name either the next page or the sync token")
        zone = text(page, "timeZone")
        raws = page.get("items", [])
        if not isinstance(raws, list):
            raise ContractBroken("items_not_a_list")
        return [
            parse.item(cast("Json", raw), zone=zone, hosts=self._hosts)
            for raw in cast("list[object]", raws)
            if isinstance(raw, dict)
        ]

    def _page(
        self, grant: Grant, calendar: str | None, meter: Meter, asked: Mapping[str, object], *, with_cursor: bool
    ) -> Json:
        request = self._events.list(
            calendarId=calendar or "primary",
            singleEvents=True,
            maxResults=PAGE_SIZE,
            fields=FIELDS,
            prettyPrint=False,
            **asked,
        )
        page = self._execute(request, grant, meter, with_cursor=with_cursor)
        meter.pages += 1
        return page

    def _execute(self, request: Any, grant: Grant, meter: Meter, *, with_cursor: bool) -> Json:
        from googleapiclient.errors import HttpError

        try:
            body: object = request.execute(http=service.Authorized(self._transport, grant, meter), num_retries=0)
        except HttpError as refused:
            status = int(refused.resp.status)
            error = classify.api_error(
                status, dict(refused.resp), refused.content, with_cursor=with_cursor, now=self._clock()
            )
            error.status = status
            raise error from None
        except (ValueError, RecursionError):  # bytes that are not UTF-8, numbers without end, nesting without end
            raise TryLater("not_json", "an answer that is not JSON") from None
        if not isinstance(body, dict):
            raise TryLater("not_json", "an answer that is not JSON")
        return cast("Json", body)


def needs_listing(page: Json, told: Sequence[Item], *, zone: str | None) -> str | None:
    """Why one incremental page does not settle it, or None if it does.

    A touched series is told instance by instance, past and future, and instances that a change of its rule
    removed may not be told at all; more pages than one cost more than one listing; another zone moves all-day events.
    """
    if page.get("timeZone") != zone:
        return "zone_changed"
    if "nextPageToken" in page or len(told) > FEW:
        return "many_changes"
    for raw in cast("list[object]", page.get("items", [])):
        if isinstance(raw, dict) and ("recurringEventId" in raw or "recurrence" in raw):
            return "series_touched"
    return None


def _adds(item: Item, window: Window) -> bool:
    """Whether an answer from before a listing of `window` says more than the listing, which does not name the item.

    What was in the window then and is not listed went away in between; the new token is too late to tell of it.
    """
    match item:
        case Tombstone():
            return True
        case Event():
            return not window.overlaps(item.starts_at, item.ends_at)
        case Awkward():
            return False


def _named(page: Json) -> frozenset[str]:
    """Ids of the events that an answer tells of, and of their series."""
    return frozenset(
        name
        for raw in objects(page, "items")
        for key in ("id", "recurringEventId")
        if (name := text(raw, key)) is not None
    )


def _cursor(page: Json, window: Window | None) -> Cursor:
    zone = page.get("timeZone")
    return Cursor(
        token=str(page["nextSyncToken"]),
        parameters=PARAMETERS,
        time_zone=zone if isinstance(zone, str) else None,
        window=window,
    )
