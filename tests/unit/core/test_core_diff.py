"""What changed: a table over what was told, what is held and whether the telling was complete."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.event import Awkward, Event, Item, Tombstone
from calendar_pipeline.history.accept import Prepared, prepare
from calendar_pipeline.history.diff import Change, Held, Told, diff, difference, missing, sort
from calendar_pipeline.providers.port import Window

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HORIZON = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=36))


def event(
    key: str = "e", *, title: str = "as held", day: float = 1, series: str | None = None, **given: object
) -> Event:
    start = NOW + timedelta(days=day)
    end = start + timedelta(hours=1)
    return Event(
        provider_event_id=key,
        title=title,
        series_id=series,
        starts_at=start,
        ends_at=end,
        start_time=start,
        end_time=end,
        raw={"id": key, "summary": title},
        **given,
    )


def held(told: Event | None = None, *, deleted: bool = False, version: int = 1) -> Held:
    told = told or event()
    prepared = prepare(told)
    assert isinstance(prepared, Prepared)
    return Held(
        event_id=f"evt_{told.provider_event_id}",
        provider_event_id=told.provider_event_id,
        version=version,
        fingerprint=prepared.fingerprint,
        is_deleted=deleted,
        series_id=told.series_id,
        starts_at=told.starts_at,
        ends_at=told.ends_at,
    )


def gone(key: str = "e", *, instances: bool = True) -> Tombstone:
    return Tombstone(provider_event_id=key, with_instances=instances)


def awkward(key: str = "e") -> Awkward:
    return Awkward(provider_event_id=key, reason="no_end", raw={})


def kinds(told: Sequence[Item], rows: Sequence[Held], *, complete: bool) -> list[tuple[str, str]]:
    changes = diff(sort(told), rows, horizon=HORIZON, complete=HORIZON if complete else None)
    return [(change.provider_event_id, change.kind) for change in changes]


BOTH = (True, False)
TABLE = [
    # told, held, result for an incremental answer, result for a complete listing
    pytest.param([], [], [], [], id="nothing-of-nothing"),
    pytest.param([event()], [], [("e", "created")], [("e", "created")], id="new"),
    pytest.param([event()], [held()], [], [], id="same"),
    pytest.param([event(title="new")], [held()], [("e", "updated")], [("e", "updated")], id="changed"),
    pytest.param([event()], [held(deleted=True)], [("e", "restored")], [("e", "restored")], id="back-as-it-was"),
    pytest.param(
        [event(title="new")], [held(deleted=True)], [("e", "restored")], [("e", "restored")], id="back-changed"
    ),
    pytest.param([], [held()], [], [("e", "deleted")], id="silence"),
    pytest.param([], [held(deleted=True)], [], [], id="silence-of-a-deleted-one"),
    pytest.param([], [held(event(day=-9))], [], [], id="silence-of-a-past-one"),
    pytest.param([], [held(event(day=60))], [], [], id="silence-of-a-later-one"),
    pytest.param([gone()], [held()], [("e", "deleted")], [("e", "deleted")], id="tombstone"),
    pytest.param([gone()], [held(deleted=True)], [], [], id="tombstone-of-a-deleted-one"),
    pytest.param([gone()], [], [], [], id="tombstone-of-a-stranger"),
    pytest.param(
        [gone()], [held(event(day=60))], [("e", "deleted")], [("e", "deleted")], id="tombstone-of-a-later-one"
    ),
    pytest.param([awkward()], [], [], [], id="awkward-stranger"),
    pytest.param([awkward()], [held()], [], [], id="awkward-keeps-what-we-held"),
    pytest.param([event(day=60)], [], [], [], id="new-beyond-the-horizon"),
    pytest.param([event(day=60)], [held()], [("e", "updated")], [("e", "updated")], id="moved-beyond-the-horizon"),
    pytest.param([event(day=60)], [held(deleted=True)], [("e", "restored")], [("e", "restored")], id="back-elsewhere"),
    pytest.param([event(), gone()], [held()], [("e", "deleted")], [("e", "deleted")], id="last-word-is-tombstone"),
    pytest.param([gone(), event()], [held()], [], [], id="last-word-is-event"),
    pytest.param([event(), awkward()], [held()], [], [], id="last-word-is-awkward"),
    pytest.param(
        [gone("s")],
        [held(event("s_1", series="s")), held(event("s_2", series="s", day=50)), held(event("other"))],
        [("s_1", "deleted"), ("s_2", "deleted")],
        [("s_1", "deleted"), ("s_2", "deleted"), ("other", "deleted")],
        id="a-series-takes-its-instances",
    ),
    pytest.param(
        [gone("s", instances=False)], [held(event("s_1", series="s"))], [], [("s_1", "deleted")], id="a-bare-tombstone"
    ),
    pytest.param(
        [gone("s"), event("s_1", series="s"), awkward("s_2")],
        [held(event("s_1", series="s")), held(event("s_2", series="s"))],
        [],
        [],
        id="instances-named-with-their-gone-series-stay",
    ),
    pytest.param(
        [gone("s"), gone("s_1")],
        [held(event("s_1", series="s"))],
        [("s_1", "deleted")],
        [("s_1", "deleted")],
        id="once",
    ),
]


@pytest.mark.parametrize(("told", "rows", "incremental", "listing"), TABLE)
def test_changes_of_an_incremental_answer(
    told: list[Item], rows: list[Held], incremental: list[tuple[str, str]], listing: list[tuple[str, str]]
) -> None:
    assert kinds(told, rows, complete=False) == incremental


@pytest.mark.parametrize(("told", "rows", "incremental", "listing"), TABLE)
def test_changes_of_a_complete_listing(
    told: list[Item], rows: list[Held], incremental: list[tuple[str, str]], listing: list[tuple[str, str]]
) -> None:
    assert kinds(told, rows, complete=True) == listing


@pytest.mark.parametrize(
    ("start", "end", "is_in"),
    [
        pytest.param(HORIZON.start, HORIZON.start, False, id="instant-at-the-start"),
        pytest.param(HORIZON.start - timedelta(hours=1), HORIZON.start, False, id="ends-at-the-start"),
        pytest.param(HORIZON.start - timedelta(hours=1), HORIZON.start + timedelta(seconds=1), True, id="reaches-in"),
        pytest.param(HORIZON.end, HORIZON.end + timedelta(hours=1), False, id="starts-at-the-end"),
        pytest.param(HORIZON.end - timedelta(seconds=1), HORIZON.end + timedelta(hours=1), True, id="starts-inside"),
        pytest.param(HORIZON.start - timedelta(days=1), HORIZON.end + timedelta(days=1), True, id="spans-it"),
    ],
)
def test_a_windows_bounds_are_exclusive(start: datetime, end: datetime, is_in: bool) -> None:
    row = replace(held(), starts_at=start, ends_at=end)
    assert missing(sort([]), [row], HORIZON) == ([row] if is_in else [])


def test_versions_count_from_one() -> None:
    changes = diff(
        sort([event("new"), event("old", title="new")]),
        [held(event("old"), version=7)],
        horizon=HORIZON,
        complete=None,
    )
    assert [(change.provider_event_id, change.version) for change in changes] == [("new", 1), ("old", 8)]


# -- properties --------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c", "s", "s_1", "s_2"])
SERIES = {"s_1": "s", "s_2": "s"}
EVENTS = st.builds(
    lambda key, title, day: event(key, title=title, day=day, series=SERIES.get(key)),
    KEYS,
    st.sampled_from(["one", "two"]),
    st.sampled_from([-30, 1, 20, 90]),
)
ITEMS = st.lists(EVENTS | st.builds(gone, KEYS, instances=st.booleans()) | st.builds(awkward, KEYS), max_size=8)
HELD = st.lists(
    st.builds(lambda told, deleted: held(told, deleted=deleted), EVENTS, st.booleans()),
    max_size=6,
    unique_by=lambda row: row.provider_event_id,
)


def applied(rows: Sequence[Held], changes: Sequence[Change]) -> list[Held]:
    """What we hold once `changes` are written."""
    state = {row.provider_event_id: row for row in rows}
    for change in changes:
        key = change.provider_event_id
        if change.told is None:
            state[key] = replace(state[key], is_deleted=True, version=change.version)
        else:
            state[key] = held(change.told.event, version=change.version)
    return list(state.values())


def live(rows: Sequence[Held]) -> dict[str, bytes]:
    return {row.provider_event_id: row.fingerprint for row in rows if not row.is_deleted}


@given(ITEMS, HELD, st.booleans())
def test_what_is_applied_is_not_told_again(items: list[Item], rows: list[Held], complete: bool) -> None:
    told, window = sort(items), HORIZON if complete else None
    once = diff(told, rows, horizon=HORIZON, complete=window)
    assert diff(told, applied(rows, once), horizon=HORIZON, complete=window) == []


@given(ITEMS, HELD)
def test_after_a_listing_we_hold_what_was_told(items: list[Item], rows: list[Held]) -> None:
    told = sort(items)
    after = live(applied(rows, diff(told, rows, horizon=HORIZON, complete=HORIZON)))
    ours = {row.provider_event_id for row in rows}
    for key, prepared in told.events.items():
        if key in ours or HORIZON.overlaps(prepared.event.starts_at, prepared.event.ends_at):
            assert after.pop(key) == prepared.fingerprint
    for key in list(after):
        row = next(row for row in rows if row.provider_event_id == key)
        assert key in told.awkward or not HORIZON.overlaps(row.starts_at, row.ends_at)


@given(ITEMS, HELD)
def test_without_a_complete_window_only_tombstones_delete(items: list[Item], rows: list[Held]) -> None:
    told = sort(items)
    for change in diff(told, rows, horizon=HORIZON, complete=None):
        if change.kind == "deleted":
            assert change.held is not None
            assert change.provider_event_id in told.gone or change.held.series_id in told.gone_series


@given(HELD)
def test_silence_outside_a_listing_changes_nothing(rows: list[Held]) -> None:
    assert diff(sort([]), rows, horizon=HORIZON, complete=None) == []


@given(ITEMS, HELD, st.booleans())
def test_each_event_changes_once_at_most(items: list[Item], rows: list[Held], complete: bool) -> None:
    changes = diff(sort(items), rows, horizon=HORIZON, complete=HORIZON if complete else None)
    keys = [change.provider_event_id for change in changes]
    assert len(keys) == len(set(keys))


@given(ITEMS)
def test_each_id_is_sorted_into_one_place(items: list[Item]) -> None:
    told: Told = sort(items)
    places = [set(told.events), set(told.gone), set(told.awkward)]
    assert sum(map(len, places)) == len(set().union(*places)) == len({item.provider_event_id for item in items})


# -- which fields ------------------------------------------------------------------------------------------


def fields(before: Event, after: Event) -> tuple[tuple[str, ...], dict[str, object]]:
    old, new = prepare(before), prepare(after)
    assert isinstance(old, Prepared)
    assert isinstance(new, Prepared)
    found = difference(old.row, new)
    return found.changed, dict(found.before)


def test_a_difference_names_the_fields_and_their_former_values() -> None:
    changed, before = fields(event(), event(title="new", day=2))
    assert changed == ("title", "starts_at", "ends_at", "start_time", "end_time", "raw")
    assert before["title"] == "as held"
    assert before["starts_at"] == NOW + timedelta(days=1)
    assert before["raw"] == {"summary": "as held"}


def test_a_key_without_a_column_is_told_as_raw_with_its_former_value() -> None:
    one = replace(event(), raw={"id": "e", "colorId": "1"})
    two = replace(event(), raw={"id": "e", "guestsCanModify": True})
    assert fields(one, two) == (("raw",), {"raw": {"colorId": "1", "guestsCanModify": None}})


def test_noise_is_no_difference() -> None:
    one = replace(event(), raw={"etag": "1"}, noise=frozenset({"etag"}))
    two = replace(event(), raw={"etag": "2"}, noise=frozenset({"etag"}), provider_updated_at=NOW)
    assert fields(one, two) == ((), {})
