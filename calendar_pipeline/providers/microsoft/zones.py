"""Time-zone names as Exchange writes them. Pure.

Windows names are mapped by CLDR's table (as shipped by icalendar); IANA names stand for themselves; ``tzone://…`` and
"Customized Time Zone" name no known zone.
"""

from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=512)
def zone(name: str | None) -> ZoneInfo | None:
    """The zone a name stands for, or None if it is no known one."""
    if not name or name.startswith("tzone://"):
        return None
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

    try:
        return ZoneInfo(WINDOWS_TO_OLSON.get(name, name))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; odd names give the others
        return None
