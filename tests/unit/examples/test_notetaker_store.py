"""What Notetaker keeps of events and their bots."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from examples.notetaker.app import _has_bot
from examples.notetaker.store import SHOWN, Store

START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def bot(state: str) -> dict[str, Any]:
    return {"id": f"bot of {state}", "state": state, "join_at": "2026-11-27T09:00:00Z"}


def event(name: str = "evt", *, bots: Any = (), **raw: Any) -> dict[str, Any]:
    return {
        "id": name, "name": name, "start_time": "2026-11-27T09:00:00Z", "end_time": "2026-11-27T10:00:00Z",
        "meeting_url": None, "is_deleted": False, "bots": list(bots), "raw": raw,
    }  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "notetaker.sqlite3")) as made:
        yield with_a_calendar(made)


def with_a_calendar(store: Store) -> Store:
    store.sign_in("ada@example.com")
    [user] = store._all("SELECT id FROM user")
    store.keep_calendar({"id": "cal", "platform": "google", "state": "connected"}, user["id"])
    return store


def kept(store: Store, *events: dict[str, Any]) -> Any:
    store.keep_events("cal", events, until=None)
    [calendar] = store.calendars()
    return store.upcoming(calendar["user_id"], now=START)


@pytest.mark.parametrize(
    ("states", "counts", "has_bot"),
    [
        ([], None, False),
        (["scheduled"], "scheduled", True),
        (["fatal_error"], "fatal_error", False),
        (["fatal_error", "scheduled"], "scheduled", True),
        (["joined_recording", "ended"], "joined_recording", True),
        (["fatal_error", "ended"], "ended", False),
    ],
)
def test_a_bot_that_is_over_leaves_its_place_to_another(store, states, counts, has_bot) -> None:
    [row] = kept(store, event(bots=[bot(state) for state in states]))
    assert (row["bot_state"], _has_bot(row)) == (counts, has_bot)


@pytest.mark.parametrize(
    ("raw", "day"),
    [
        ({"start": {"date": "2026-11-27"}}, "2026-11-27"),
        ({"start": {"dateTime": "2026-11-27T10:00:00+01:00"}}, None),
        ({"isAllDay": True, "start": {"dateTime": "2026-11-27T00:00:00.0000000", "timeZone": "UTC"}}, "2026-11-27"),
        ({"isAllDay": False, "start": {"dateTime": "2026-11-27T09:00:00.0000000", "timeZone": "UTC"}}, None),
    ],
)
def test_an_all_day_event_keeps_its_day(store, raw, day) -> None:
    [row] = kept(store, event(**raw))
    assert row["all_day_on"] == day


def test_as_many_meetings_as_are_shown_and_one_that_tells_of_more(store) -> None:
    assert len(kept(store, *(event(f"evt{number}") for number in range(SHOWN + 50)))) == SHOWN + 1


def test_a_database_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "notetaker.sqlite3"
    Store(path).close()
    with closing(sqlite3.connect(path)) as earlier:
        earlier.execute("ALTER TABLE event DROP COLUMN all_day_on")
    with closing(Store(path)) as store:
        [row] = kept(with_a_calendar(store), event(start={"date": "2026-11-27"}))
    assert row["all_day_on"] == "2026-11-27"
