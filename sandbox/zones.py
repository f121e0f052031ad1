"""Which IANA zone a calendar file means: by its name, by Windows' name for it, or by how its clocks go."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from sandbox.errors import Unusable
from sandbox.when import zone_info

_REGIONS = re.compile(r"(Europe|America|Asia|Africa|Australia|Pacific|Atlantic)/\w+$")
_PREFERRED = ("UTC", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Tokyo")


def by_name(name: str) -> str | None:
    """An IANA or Windows name as the IANA name; None for any other."""
    name = name.strip().strip('"')
    try:
        zone_info(name)
    except Unusable:
        known: dict[str, str] = WINDOWS_TO_OLSON
        return known.get(name)
    return name


def by_clock(zone: tzinfo, around: datetime, prefer: str) -> str:
    """The IANA zone whose clock agrees best with `zone` in the three years around `around`; `prefer` wins a tie.

    For zones that a file defines by itself. Google does the like on import: its events name IANA zones only.
    """
    first = datetime(around.year - 1, 1, 1, 12, tzinfo=UTC)
    moments = tuple(first + timedelta(days=7 * week) for week in range(3 * 52))
    return _closest(tuple(_offset(zone, at) for at in moments), first, prefer)


@lru_cache(maxsize=256)
def _closest(offsets: tuple[timedelta, ...], first: datetime, prefer: str) -> str:
    moments = [first + timedelta(days=7 * week) for week in range(len(offsets))]

    def likeness(name: str) -> tuple[int, bool, bool, bool, int]:
        agreed = sum(_offset(ZoneInfo(name), at) == offset for at, offset in zip(moments, offsets, strict=True))
        return agreed, name == prefer, name in _PREFERRED, _REGIONS.match(name) is not None, -len(name)

    return max(sorted(_candidates()), key=likeness)


def _candidates() -> Iterable[str]:
    return (name for name in available_timezones() if "/" in name or name == "UTC")


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()
