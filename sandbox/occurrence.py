"""One thing that happens in a calendar, and a series' instances in a window. Pure."""

from collections.abc import Container, Iterator
from datetime import datetime, timedelta

from sandbox import expand
from sandbox.model import Event
from sandbox.when import When, end_of, instant, length, suffix


class Occurrence:
    """One thing that happens: a single event, an exception, or an instance computed from a master."""

    __slots__ = ("end", "event", "id", "original", "start")

    def __init__(self, event: Event, original: When | None = None) -> None:
        self.event = event
        if original is None:
            self.id, self.start, self.end, self.original = event.id, event.start, event.end, event.original
        else:
            self.id = f"{event.id}_{suffix(original)}"
            self.start = self.original = original
            self.end = end_of(original, length(event.start, event.end))

    def within(self, low: datetime | None, high: datetime | None, zone: str) -> bool:
        """The overlap: ends after `low` and starts before `high`, both exclusive; None is no bound."""
        return (low is None or instant(self.end, zone) > low) and (high is None or instant(self.start, zone) < high)


def instances(
    master: Event, zone: str, low: datetime | None, high: datetime | None, *, cap: int, taken: Container[str]
) -> Iterator[Occurrence]:
    """The computed instances of a series in the window, without those whose ids are `taken` by exceptions.

    Without an end at most `cap` of them, from the window's start on. A day begins at midnight in `zone`.
    """
    first = instant(master.start, zone)
    duration = instant(master.end, zone) - first + timedelta(days=1)
    since = low - duration if low is not None else first
    if high is None:
        begins = iter(expand.around(master.start, master.recurrence, max(since, first), cap, zone))
    else:
        begins = expand.starts(master.start, master.recurrence, since, high, zone)
    for original in begins:
        found = Occurrence(master, original)
        if found.id not in taken and found.within(low, high, zone):
            yield found
