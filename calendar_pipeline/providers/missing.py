"""What became of events that a listing did not name: the same questions for every provider.

An event may have moved out of the window. It is asked for by its id; a series that is gone costs one question for all
of its instances.
"""

from collections.abc import Callable, Sequence

from calendar_pipeline.event import Item
from calendar_pipeline.providers.json_values import Json
from calendar_pipeline.providers.port import Known

MAX_LOOK_UPS = 20
"""Missing events asked for one by one, per listing; a listing that misses more is believed as it is."""


def look_up(
    missing: Sequence[Known], get: Callable[[str], Json | None], read: Callable[[Json], Item | None]
) -> list[Item]:
    """Those that still exist. `get` answers an event's or a series' JSON, or None if it is gone or cancelled."""
    if len(missing) > MAX_LOOK_UPS:
        return []
    found: list[Item] = []
    is_gone: dict[str, bool] = {}
    for known in missing:
        series = known.series_id
        if series is not None and series not in is_gone:
            is_gone[series] = get(series) is None
        if series is not None and is_gone[series]:
            continue
        raw = get(known.provider_event_id)
        told = read(raw) if raw is not None else None
        if told is not None:
            found.append(told)
    return found
