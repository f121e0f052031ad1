"""The Retry-After header. Pure. Source: RFC 9110 §10.2.3."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=6)


def retry_after(headers: Mapping[str, str], *, now: datetime, longest: timedelta = LONGEST) -> timedelta | None:
    """How long to wait: seconds or until a date, within [0 s, `longest`]; None if absent or nonsense."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        wait = timedelta(seconds=min(int(value[:9]), 86_400))
    else:
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        wait = then - now
    return min(max(wait, timedelta()), longest)
