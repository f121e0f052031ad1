"""What became of events that a listing did not name: the same questions for every provider.

An event may have moved out of the window. It is asked for by its id; a series that is gone costs one question for all
of its instances. The calendar itself was just listed, so a refusal is about the event alone.
"""

from collections.abc import Callable, Sequence

from calendar_pipeline.errors import AccessRevoked, ContractBroken, CursorExpired
from calendar_pipeline.event import Awkward, Item
from calendar_pipeline.providers.json_values import Json
from calendar_pipeline.providers.port import Known

MAX_LOOK_UPS = 20
"""Missing events asked for one by one, per listing; a listing that misses more is believed as it is."""

GONE = (404, 410)


def look_up(
    missing: Sequence[Known], get: Callable[[str], Json | None], read: Callable[[Json], Item | None]
) -> list[Item]:
    """Those that still exist; one that cannot be asked for stays as it was, set aside as ``refused``.

    `get` answers an event's or a series' JSON, or None if it is gone or cancelled.
    """
    if len(missing) > MAX_LOOK_UPS:
        return []
    found: list[Item] = []
    is_gone: dict[str, bool] = {}
    for known in missing:
        series = known.series_id
        if series is not None and series not in is_gone:
            is_gone[series] = _answer(get, series) is None
        if series is not None and is_gone[series]:
            continue
        answer = _answer(get, known.provider_event_id)
        told = answer if answer is None or isinstance(answer, Awkward) else read(answer)
        if told is not None:
            found.append(told)
    return found


def _answer(get: Callable[[str], Json | None], event_id: str) -> Json | Awkward | None:
    try:
        return get(event_id)
    except (AccessRevoked, ContractBroken, CursorExpired) as refused:
        if refused.status in GONE:
            return None
        return Awkward(provider_event_id=event_id, reason="refused", raw={"error": refused.code})
