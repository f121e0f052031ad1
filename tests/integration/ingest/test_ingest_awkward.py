"""An event that cannot be kept is set aside alone: its neighbours, and its calendar, go on."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from calendar_pipeline.providers.transport import Answer

MEET = "https://meet.google.com/abc-defg-hij"


def tell(bench: Any, changes: Mapping[str, Mapping[str, object]]) -> None:
    """From now on Google tells these events with these fields (None: without them)."""

    def odd(raw: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in {**raw, **changes.get(raw["id"], {})}.items() if value is not None}

    def rewrite(url: str, answer: Answer) -> Answer:
        if "/events" not in url or answer.status != 200:
            return answer
        body = json.loads(answer.body)
        body = {**body, "items": [odd(raw) for raw in body["items"]]} if "items" in body else odd(body)
        return replace(answer, body=json.dumps(body).encode())

    bench.transport.rewrite = rewrite


FAR = {"dateTime": "9999-12-31T23:59:59Z"}
CROWD = [{"email": f"guest{number}@example.com", "responseStatus": "accepted"} for number in range(10_000)]
KEPT: dict[str, Mapping[str, object]] = {
    "plain": {},
    "ends in the year 9999": {"end": FAR},
    "megabyte of description": {"description": "d" * 1_000_000},
    "nul escape as text": {"description": "C strings end with \\u0000"},
    "link of ten thousand characters": {"hangoutLink": f"https://example.zoom.us/j/12345678901?pwd={'p' * 10_000}"},
    "link in a crowd": {"hangoutLink": MEET, "attendees": CROWD[:1000]},
    "unknown type": {"eventType": "invented2027", "newField": {"deep": [1, None]}},
}
SET_ASIDE: dict[str, tuple[str, Mapping[str, object]]] = {
    "no start": ("no_start", {"start": None}),
    "no end": ("no_end", {"end": None}),
    "unknown zone": ("unknown_zone", {"start": {"dateTime": "2026-11-24T10:00:00", "timeZone": "Mars/Base"}}),
    "nul": ("nul_character", {"summary": "a\0b"}),
    "surrogate": ("not_encodable", {"summary": "\ud83d half an emoji"}),
    "crowd": ("too_many_attendees", {"attendees": CROWD}),
    "long title": ("title_too_long", {"summary": "t" * 100_000}),
    "long link": ("link_too_long", {"hangoutLink": f"https://example.zoom.us/j/12345678901?pwd={'p' * 4000}"}),
    "large": ("too_large", {"extendedProperties": {"private": {"x": "x" * 1_100_000}}}),
    "long uid": ("id_too_long", {"iCalUID": random.Random(1).randbytes(2000).hex()}),
    "long series": ("id_too_long", {"recurringEventId": "".join(chr(0x4E00 + n * 7) for n in range(1000))}),
    "beyond time": ("bad_end", {"end": {"dateTime": "9999-12-31T23:59:59-10:00"}}),
}


@pytest.fixture
def zoo(bench: Any) -> Any:
    """A calendar with one of each; `bench.ids` has their ids."""
    bench.ids = {name: bench.add(name) for name in [*KEPT, *SET_ASIDE]}
    odd = {**KEPT, **{name: fields for name, (_, fields) in SET_ASIDE.items()}}
    tell(bench, {bench.ids[name]: fields for name, fields in odd.items()})
    return bench


def test_only_what_must_be_is_set_aside(zoo: Any) -> None:
    outcome = zoo.sync()
    assert outcome.status == "synced"
    assert zoo.quarantined() == {zoo.ids[name]: reason for name, (reason, _) in SET_ASIDE.items()}
    assert set(zoo.live()) == {zoo.ids[name] for name in KEPT}
    assert outcome.quarantined == zoo.row["quarantined"] == zoo.runs()[-1]["quarantined"] == len(SET_ASIDE)


def test_long_texts_are_kept_cut(zoo: Any) -> None:
    zoo.sync()
    stored = zoo.events()[zoo.ids["megabyte of description"]]
    assert stored["raw"]["description"] == "d" * 8000


def test_what_is_set_aside_is_kept_with_its_json_as_ascii_and_not_endlessly(zoo: Any) -> None:
    zoo.sync()
    rows = {
        row["provider_event_id"]: row for row in zoo.rows("SELECT * FROM quarantined_event WHERE calendar_id = :cal")
    }
    assert '"a\\u0000b"' in rows[zoo.ids["nul"]]["raw"]
    assert "\\ud83d half an emoji" in rows[zoo.ids["surrogate"]]["raw"]
    assert max(len(row["raw"]) for row in rows.values()) == 64 * 1024
    assert {row["project_id"] for row in rows.values()} == {zoo.project}


def test_a_zoo_that_stays_as_it_is_changes_nothing(zoo: Any) -> None:
    zoo.sync()
    history = len(zoo.history())
    zoo.clock.pass_by(minutes=30)
    assert zoo.sync(full=True).changes == 0
    assert len(zoo.history()) == history
    [seen] = zoo.rows("SELECT min(first_seen_at) AS first, min(last_seen_at) AS last FROM quarantined_event")
    assert (seen["first"], seen["last"]) == (zoo.clock.now.replace(minute=0), zoo.clock())


def test_events_that_are_well_again_are_taken_back_by_a_listing(zoo: Any) -> None:
    zoo.sync()
    zoo.transport.rewrite = None
    outcome = zoo.sync(full=True)
    assert outcome.created == len(SET_ASIDE)
    assert (zoo.quarantined(), zoo.row["quarantined"]) == ({}, 0)
    assert set(zoo.live()) == set(zoo.ids.values())


def test_an_event_that_is_well_again_is_taken_back_when_it_is_told(zoo: Any) -> None:
    zoo.sync()
    zoo.transport.rewrite = None
    zoo.world.retitle_event(zoo.cal.at_google, zoo.ids["nul"], "well again")
    [outcome] = zoo.tick(minutes=30)
    assert (outcome.mode, outcome.created) == ("incremental", 1)
    assert zoo.ids["nul"] not in zoo.quarantined()
    assert zoo.row["quarantined"] == len(SET_ASIDE) - 1
    assert zoo.live()[zoo.ids["nul"]] == "well again"


def test_an_event_that_is_gone_is_forgotten(zoo: Any) -> None:
    zoo.sync()
    zoo.world.cancel_event(zoo.cal.at_google, zoo.ids["nul"])
    zoo.tick(minutes=30)
    assert zoo.ids["nul"] not in zoo.quarantined()
    assert zoo.row["quarantined"] == len(SET_ASIDE) - 1


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "listing"])
def test_an_event_that_becomes_awkward_stays_as_it_was(bench: Any, full: bool) -> None:
    event = bench.add("As it was")
    bench.sync()
    tell(bench, {event: {"end": None}})
    bench.world.retitle_event(bench.cal.at_google, event, "Broken")
    outcome = bench.sync(full=full)
    assert (outcome.changes, bench.live(), bench.quarantined()) == (0, {event: "As it was"}, {event: "no_end"})
    bench.transport.rewrite = None
    assert bench.sync(full=True).updated == 1
    assert (bench.live(), bench.quarantined()) == ({event: "Broken"}, {})


@pytest.mark.parametrize("status", ["confirmed", "cancelled"])
@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "e" * 5000], ids=["nul", "surrogate", "long"])
def test_an_impossible_id_holds_up_nobody(bench: Any, odd: str, status: str) -> None:
    good, bad = bench.add("Good"), bench.add("Bad")
    tell(bench, {bad: {"id": odd, "status": status}})
    assert bench.sync().status == "synced"
    assert bench.live() == {good: "Good"}
    assert list(bench.quarantined().values()) == ["bad_id"]
    assert bench.sync(full=True).changes == 0


def test_an_item_without_an_id_holds_up_nobody(bench: Any) -> None:
    good, bad = bench.add("Good"), bench.add("Bad")
    tell(bench, {bad: {"id": None}})
    bench.sync()
    assert (bench.live(), bench.quarantined()) == ({good: "Good"}, {"": "no_id"})
