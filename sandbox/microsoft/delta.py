"""calendarView/delta: a frozen window, sparse occurrences, masters, series told whole, tombstones that say nothing.

Pure: nothing is changed here. Entries are told in groups, a series being one group that no page splits; a link
names the last group told, not an offset.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from sandbox.microsoft import render, view
from sandbox.microsoft.errors import GraphError, bad_request
from sandbox.microsoft.render import Manner
from sandbox.microsoft.switches import Switches
from sandbox.model import Calendar, Event
from sandbox.occurrence import Occurrence
from sandbox.tokens import opened

Entry = dict[str, Any]
Group = tuple[str, list[Entry]]
"""Where a group stands in the round, and its entries."""


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a next or delta link holds: the window, and how far it was read."""

    kind: Literal["skip", "delta"]
    epoch: str
    calendar: str
    generation: int
    low: datetime
    high: datetime
    issued_at: datetime
    upto: int
    """The change number when the round began: what comes later belongs to the next one."""
    since: int | None = None
    """The round tells what changed after this; None: all that lies in the window."""
    after: str = ""
    """The last group told."""
    repeats: int | None = None
    """Where the round before began, if that told anything."""


class Page(msgspec.Struct, frozen=True):
    """One answer of a round."""

    entries: list[Entry]
    link: Link


def read(text: str, kind: Literal["skip", "delta"], calendar: Calendar) -> Link:
    """The link of this text; raises 400 for anything that was not written for this calendar."""
    link = opened(text, Link)
    if link is None or link.kind != kind or link.calendar != calendar.id:
        message = "The sync state is not valid."
        raise bad_request(message, "SyncStateInvalid")
    return link


def check(link: Link, calendar: Calendar, switches: Switches, *, epoch: str, now: datetime) -> None:
    """Raise the refusal of an expired link, 410 unless a switch says otherwise."""
    age = (now - link.issued_at).total_seconds()
    too_old = switches.delta_token_max_age_s is not None and age > switches.delta_token_max_age_s
    if link.epoch != epoch or link.generation != calendar.token_generation or link.upto > calendar.seq or too_old:
        message = f"The sync state generation is not found; generation={link.generation};[highest={link.upto}]"
        raise GraphError(switches.expired_status, "SyncStateNotFound", message)


def begin(calendar: Calendar, low: datetime, high: datetime, *, epoch: str, now: datetime) -> Link:
    """Where the first round starts."""
    return Link("skip", epoch, calendar.id, calendar.token_generation, low, high, now, calendar.seq)


def next_round(link: Link, calendar: Calendar, *, now: datetime) -> Link:
    """Where the round after a delta link starts."""
    return msgspec.structs.replace(link, kind="skip", issued_at=now, since=link.upto, upto=calendar.seq, after="")


def page(
    calendar: Calendar, link: Link, manner: Manner, switches: Switches, *, size: int, empty: bool, now: datetime
) -> Page:
    """The entries after `link.after`, about `size` of them, and the link to go on with."""
    groups = [group for group in sorted(_groups(calendar, link, manner, switches)) if group[0] > link.after]
    entries: list[Entry] = []
    told = 0
    while told < len(groups) and len(entries) < size and not empty:
        entries += groups[told][1]
        told += 1
    if told < len(groups) or empty:
        after = groups[told - 1][0] if told else link.after
        # A first page without entries must not look like the first page again.
        return Page(entries, msgspec.structs.replace(link, issued_at=now, after=after or " "))
    changed = link.since is not None and link.upto > link.since
    repeats = link.since if changed else None
    return Page(entries, msgspec.structs.replace(link, kind="delta", issued_at=now, after="", repeats=repeats))


def _groups(calendar: Calendar, link: Link, manner: Manner, switches: Switches) -> Iterator[Group]:
    since = link.since
    if since is not None and switches.replay and link.repeats is not None:
        since = min(since, link.repeats)
    told = (
        _all(calendar, link, manner, switches) if since is None else _changes(calendar, since, link, manner, switches)
    )
    for own_id, entries in told:
        place = hashlib.blake2b(f"{calendar.id}/{own_id}/{link.upto}".encode(), digest_size=8).hexdigest()
        if switches.duplicates and int(place[0], 16) % 2 and "@removed" not in entries[0]:
            yield f"a{place}", [_older(entry) for entry in entries]
        yield f"m{place}", _shuffled(entries)


def _all(calendar: Calendar, link: Link, manner: Manner, switches: Switches) -> Iterator[tuple[str, list[Entry]]]:
    for event in calendar.events.values():
        if event.series_id is not None or not _there(calendar, event, switches):
            continue
        if entries := _whole(calendar, event, link, manner, switches):
            yield event.id, entries


def _changes(
    calendar: Calendar, since: int, link: Link, manner: Manner, switches: Switches
) -> Iterator[tuple[str, list[Entry]]]:
    changed = [event for event in calendar.events.values() if event.seq > since]
    # One deleted occurrence has no entry of its own: its series is told whole.
    series = {event.id for event in changed if event.series_id is None}
    series |= {one.series_id for one in changed if one.series_id and not _there(calendar, one, switches)}
    for own_id in sorted(series):
        event = calendar.events.get(own_id)
        entries = (
            _whole(calendar, event, link, manner, switches)
            if event is not None and _there(calendar, event, switches)
            else []
        )
        yield own_id, entries or [render.removed(calendar, own_id, manner, switches.removed_reason)]
    for event in changed:
        if event.series_id is None or event.series_id in series:
            continue
        found = Occurrence(event)
        if found.within(link.low, link.high, calendar.zone_of(event)):
            yield event.id, [_full(calendar, found, manner)]
        else:
            yield event.id, [render.removed(calendar, event.id, manner, switches.removed_reason)]


def _whole(calendar: Calendar, event: Event, link: Link, manner: Manner, switches: Switches) -> list[Entry]:
    """A single event; or a series with all its occurrences in the window, masters first; empty if none is in it."""
    keep = switches.preserve_declined
    found = list(view.occurrences(calendar, link.low, link.high, preserve_declined=keep, series=event))
    if not event.recurrence or not found:
        return [_full(calendar, one, manner) for one in found]
    rows = [_full(calendar, Occurrence(event), manner)]
    for one in found:
        full = _full(calendar, one, manner)
        rows.append(render.sparse(full) if full["type"] == "occurrence" else full)
    return rows


def _full(calendar: Calendar, found: Occurrence, manner: Manner) -> Entry:
    return {"@odata.type": "#microsoft.graph.event"} | render.event(calendar, found, manner)


def _there(calendar: Calendar, event: Event, switches: Switches) -> bool:
    return view.is_there(calendar, event, preserve_declined=switches.preserve_declined)


def _older(entry: Entry) -> Entry:
    """The entry as it might have been before: a later one of the same id takes its place."""
    old = {"@odata.etag": 'W/"b2xk"'} | ({"subject": "(before)", "changeKey": "b2xk"} if "subject" in entry else {})
    return entry | old


def _shuffled(entries: list[Entry]) -> list[Entry]:
    """Order isn't promised: another one, the same each time."""
    return sorted(entries, key=lambda entry: hashlib.blake2b(str(entry["id"]).encode(), digest_size=8).digest())
