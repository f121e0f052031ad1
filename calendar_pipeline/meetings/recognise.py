"""Finds the meeting link of an event.

Which links count is in `platforms`; which wrappers are opened, in `unwrap`; how text is read, in `extract`. All work is
bounded: at most `MOST_ROUNDS` wrappers around a link, `MOST_LINKS` different links and `extract.LONGEST_TEXT`
characters of a source.
"""

from collections.abc import Sequence
from typing import Final

from calendar_pipeline.meetings import address, extract, platforms, unwrap
from calendar_pipeline.meetings.model import MeetingLink, Source

__all__ = ["MOST_LINKS", "MOST_ROUNDS", "MeetingLink", "Source", "find", "recognise"]

MOST_ROUNDS: Final = 8
MOST_LINKS: Final = 200
_CONTRACTED: Final = frozenset({"zoom", "google_meet", "teams"})


def find(sources: Sequence[Source], *, extra_hosts: Sequence[str] = ()) -> MeetingLink | None:
    """The link by which to join the event that `sources` tell of, or None.

    A recognised link in a structured source wins; then the other sources are asked in the order given. One exception:
    Google adds a Meet link to events on its own, so a link of another platform in a location is taken as what the
    organizer meant.
    """
    for source in sources:
        if source.kind == "structured" and (link := _of_source(source, extra_hosts)) is not None:
            return _meant(sources, extra_hosts) or link if link.platform == "google_meet" else link
    for source in sources:
        if source.kind != "structured" and (link := _of_source(source, extra_hosts)) is not None:
            return link
    return None


def recognise(url: str, *, extra_hosts: Sequence[str] = ()) -> MeetingLink | None:
    """The meeting that `url` leads to, wrapped or not; None if it leads to none that can be joined.

    Recognising the `url` of the answer gives the same `url` and `key` again.
    """
    opened = url
    for _ in range(MOST_ROUNDS + 1):
        parts = address.parse(opened)
        if parts is None:
            return None
        place = platforms.place(parts, extra_hosts=extra_hosts)
        if place is not None:
            return MeetingLink(found=url, url=place.url, platform=place.platform, key=place.key)
        inner = unwrap.once(parts)
        if inner is None:
            return None
        opened = inner
    return None


def _meant(sources: Sequence[Source], extra_hosts: Sequence[str]) -> MeetingLink | None:
    for source in sources:
        if source.kind == "location" and (link := _of_source(source, extra_hosts, but_not="google_meet")) is not None:
            return link
    return None


def _of_source(source: Source, extra_hosts: Sequence[str], *, but_not: str = "") -> MeetingLink | None:
    """The first recognised link.

    Of several into that same meeting, the one with the longest query, as that one has the passcode.
    """
    seen: set[str] = set()
    for reading in extract.readings(source.text, markup=source.kind == "html"):
        best: MeetingLink | None = None
        for found in reading:
            if found in seen:
                continue
            if len(seen) == MOST_LINKS:
                return best
            seen.add(found)
            link = _of_text(found, extra_hosts)
            if link is None or link.platform == but_not:
                continue
            if best is None or (link.key == best.key and _told(link) > _told(best)):
                best = link
        if best is not None:
            return best
    return None


def _of_text(found: str, extra_hosts: Sequence[str]) -> MeetingLink | None:
    """The meeting of `found`, which may have text after it.

    That text is taken off as the contract does for the contract's platforms, and as far as can be for the others.
    """
    best: MeetingLink | None = None
    for candidate in extract.trimmed(found):
        if (link := recognise(candidate, extra_hosts=extra_hosts)) is not None:
            if link.platform in _CONTRACTED:
                return link
            best = link
    return best


def _told(link: MeetingLink) -> int:
    """How much `link` says beside where the meeting is; counting all of it would prefer a longer host name."""
    return len(link.url.partition("?")[2])
