"""Calendar exports become series, exceptions and singles."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox import zones
from sandbox.errors import Unusable
from sandbox.world import World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ME = "a@example.com"
CUSTOM = """BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""


def export(*events: str, head: str = "") -> str:
    rows = [f"BEGIN:VEVENT\n{body.strip()}\nEND:VEVENT" for body in events]
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "X-WR-TIMEZONE:Europe/Berlin", head, *rows, "END:VCALENDAR"])


def loaded(text: str, *, shift_to_now: bool = False) -> tuple[World, list[str]]:
    world = World(clock=lambda: NOW)
    done = world.load(text.replace("\n\n", "\n"), account=ME, shift_to_now=shift_to_now)
    return world, done.skipped


def rows(world: World, **bounds: datetime) -> list[dict[str, Any]]:
    return world.listing(ME, **{"time_max": datetime(2028, 1, 1, tzinfo=UTC)} | bounds)


def starts(world: World) -> list[str]:
    return [row["start"].get("dateTime") or row["start"]["date"] for row in rows(world)]


@pytest.mark.parametrize(
    ("lines", "head", "start", "end"),
    [
        pytest.param(
            "DTSTART;TZID=Europe/Paris:20261124T150000\nDTEND;TZID=Europe/Paris:20261124T160000",
            "",
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Europe/Paris"},
            {"dateTime": "2026-11-24T16:00:00+01:00", "timeZone": "Europe/Paris"},
            id="IANA zone",
        ),
        pytest.param(
            "DTSTART;TZID=Eastern Standard Time:20261124T090000\nDURATION:PT45M",
            "",
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "America/New_York"},
            {"dateTime": "2026-11-24T15:45:00+01:00", "timeZone": "America/New_York"},
            id="Windows zone name without definition, and a duration",
        ),
        pytest.param(
            "DTSTART;TZID=Customized Time Zone:20260724T150000\nDURATION:PT1H",
            CUSTOM,
            {"dateTime": "2026-07-24T15:00:00+02:00", "timeZone": "Europe/Berlin"},
            {"dateTime": "2026-07-24T16:00:00+02:00", "timeZone": "Europe/Berlin"},
            id="a zone that the file defines",
        ),
        pytest.param(
            "DTSTART:20261124T150000\nDTEND:20261124T153000",
            "",
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Europe/Berlin"},
            {"dateTime": "2026-11-24T15:30:00+01:00", "timeZone": "Europe/Berlin"},
            id="floating",
        ),
        pytest.param(
            "DTSTART:20261124T140000Z",
            "",
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Europe/Berlin"},
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Europe/Berlin"},
            id="UTC, without an end",
        ),
        pytest.param(
            "DTSTART;VALUE=DATE:20261124",
            "",
            {"date": "2026-11-24"},
            {"date": "2026-11-25"},
            id="all-day, without an end",
        ),
        pytest.param(
            "DTSTART;VALUE=DATE:20261124\nDURATION:P2D",
            "",
            {"date": "2026-11-24"},
            {"date": "2026-11-26"},
            id="all-day, with a duration",
        ),
    ],
)
def test_times_are_understood(lines: str, head: str, start: dict[str, str], end: dict[str, str]) -> None:
    world, skipped = loaded(export(f"UID:x\nSUMMARY:X\n{lines}", head=head))
    (row,) = rows(world)
    assert (row["start"], row["end"], skipped) == (start, end, [])


def test_a_series_keeps_its_rule_its_exceptions_and_what_is_left_out() -> None:
    world, _ = loaded(
        export(
            "UID:abcde123@google.com\nSUMMARY:S\nDTSTART;TZID=Europe/Berlin:20261102T100000\nDURATION:PT30M\n"
            "RRULE:FREQ=WEEKLY;UNTIL=20261130T225959Z\nEXDATE;TZID=Europe/Berlin:20261109T100000\n"
            "RDATE;TZID=America/New_York:20261110T080000",
            "UID:abcde123@google.com\nSUMMARY:Moved\nRECURRENCE-ID;TZID=Europe/Berlin:20261116T100000\n"
            "DTSTART;TZID=Europe/Berlin:20261117T113000\nDURATION:PT1H",
            "UID:abcde123@google.com\nSUMMARY:S\nRECURRENCE-ID:20261123T090000Z\nSTATUS:CANCELLED\n"
            "DTSTART;TZID=Europe/Berlin:20261123T100000\nDURATION:PT30M",
        )
    )
    assert starts(world) == [
        "2026-11-02T10:00:00+01:00",
        "2026-11-10T14:00:00+01:00",
        "2026-11-17T11:30:00+01:00",
        "2026-11-30T10:00:00+01:00",
    ]
    moved = rows(world)[2]
    assert (moved["id"], moved["recurringEventId"]) == ("abcde123_20261116T090000Z", "abcde123")
    assert {row["iCalUID"] for row in rows(world)} == {"abcde123@google.com"}


def test_an_exception_without_its_master_is_a_single_event() -> None:
    world, skipped = loaded(export("UID:abcde123@google.com\nRECURRENCE-ID:20261116T090000Z\nDTSTART:20261116T100000Z"))
    (row,) = rows(world)
    assert (row["id"], "recurringEventId" in row, skipped) == ("abcde123_20261116T090000Z", False, [])


def test_an_all_day_series_with_a_timed_until_and_a_timed_series_with_a_dated_one() -> None:
    world, skipped = loaded(
        export(
            "UID:days\nDTSTART;VALUE=DATE:20261101\nRRULE:FREQ=DAILY;UNTIL=20261103T000000Z",
            "UID:times\nDTSTART;TZID=Europe/Berlin:20261101T233000\nRRULE:FREQ=DAILY;UNTIL=20261102",
        )
    )
    assert (len(rows(world)), skipped) == (5, [])


def test_what_google_shows_is_taken_over() -> None:
    world, _ = loaded(
        export(
            "UID:x\nSUMMARY:Talk\nDTSTART:20261124T140000Z\nDTEND:20261124T150000Z\nLOCATION:Room 1\n"
            "DESCRIPTION:Bring\\, cake\n"
            "CLASS:PRIVATE\nTRANSP:TRANSPARENT\nSEQUENCE:3\nSTATUS:TENTATIVE\n"
            "X-GOOGLE-CONFERENCE:https://meet.google.com/abc-defg-hij\nORGANIZER;CN=Bo:mailto:b@example.com\n"
            "ATTENDEE;PARTSTAT=ACCEPTED:mailto:b@example.com\nATTENDEE;PARTSTAT=DECLINED;ROLE=OPT-PARTICIPANT:MAILTO:A@example.com"
        )
    )
    (row,) = rows(world)
    assert (
        row["hangoutLink"] == row["conferenceData"]["entryPoints"][0]["uri"] == "https://meet.google.com/abc-defg-hij"
    )
    wanted = {
        "location": "Room 1",
        "description": "Bring, cake",
        "visibility": "private",
        "transparency": "transparent",
    }
    assert wanted.items() <= row.items()
    assert (row["sequence"], row["status"]) == (3, "tentative")
    assert row["organizer"] == {"email": "b@example.com", "displayName": "Bo"}
    assert row["attendees"] == [
        {"email": "b@example.com", "responseStatus": "accepted", "organizer": True},
        {"email": "A@example.com", "responseStatus": "declined", "optional": True, "self": True},
    ]


def test_events_without_uid_are_several_and_with_the_same_uid_one() -> None:
    world, skipped = loaded(
        export(
            "SUMMARY:A\nDTSTART:20261124T140000Z",
            "SUMMARY:A\nDTSTART:20261124T140000Z",
            "UID:x\nSUMMARY:New\nSEQUENCE:2\nDTSTART:20261124T150000Z",
            "UID:x\nSUMMARY:Old\nSEQUENCE:1\nDTSTART:20261124T160000Z",
        )
    )
    assert [row["summary"] for row in rows(world)] == ["A", "A", "New"]
    assert len(skipped) == 1


@pytest.mark.parametrize(
    "awkward",
    [
        "UID:bad\nSUMMARY:Bad",
        "UID:bad\nDTSTART:20261124T140000Z\nDTEND:20261124T130000Z",
        "UID:bad\nDTSTART:20261124T140000Z\nDTEND;VALUE=DATE:20261125",
        "UID:bad\nDTSTART:20261124T140000Z\nRRULE:FREQ=SECONDLY",
    ],
    ids=["no start", "ends before it starts", "mixed", "each second"],
)
def test_an_awkward_event_is_left_out_with_its_reason(awkward: str) -> None:
    world, skipped = loaded(export(awkward, "UID:good\nDTSTART:20261124T140000Z"))
    assert len(rows(world)) == 1
    assert len(skipped) == 1
    assert "bad" in skipped[0]


@pytest.mark.parametrize("text", ["", "hello", "BEGIN:VEVENT\nEND:VEVENT"])
def test_what_is_no_calendar_is_refused_with_advice(text: str) -> None:
    with pytest.raises(Unusable, match=r"VCALENDAR|\.ics"):
        World(clock=lambda: NOW).load(text)


def test_shifting_to_now_keeps_weekdays_clocks_and_everything_that_names_a_date() -> None:
    world, _ = loaded(
        export(
            "UID:abcde123\nDTSTART;TZID=Europe/Berlin:20240603T100000\nDURATION:PT30M\n"
            "RRULE:FREQ=WEEKLY;UNTIL=20240624T215959Z\nEXDATE;TZID=Europe/Berlin:20240610T100000",
            "UID:abcde123\nRECURRENCE-ID;TZID=Europe/Berlin:20240617T100000\n"
            "DTSTART;TZID=Europe/Berlin:20240618T110000\nDURATION:PT1H",
            "UID:old\nDTSTART;VALUE=DATE:20200101",
            "UID:endless\nDTSTART;TZID=Europe/Berlin:20200106T080000\nRRULE:FREQ=YEARLY",
        ),
        shift_to_now=True,
    )
    near = rows(world, time_min=NOW - timedelta(days=14), time_max=NOW + timedelta(days=21))
    found = [datetime.fromisoformat(row["start"]["dateTime"]) for row in near]
    assert [f"{at:%a %H:%M}" for at in found] == ["Mon 10:00", "Tue 11:00", "Mon 10:00"]
    assert found[0].date().isoformat() == "2026-11-16"


def test_a_shift_over_a_clock_change_keeps_the_wall_clock() -> None:
    world, _ = loaded(export("UID:x\nDTSTART;TZID=Europe/Berlin:20240703T100000\nDURATION:PT30M"), shift_to_now=True)
    (start,) = starts(world)
    assert datetime.fromisoformat(start).strftime("%a %H:%M %z") == "Wed 10:00 +0100"


def test_a_file_loaded_twice_changes_nothing_and_says_so() -> None:
    world, _ = loaded(text := export("UID:x\nDTSTART:20261124T140000Z"))
    again = world.load(text, calendar_id=ME)
    assert (again.events, len(again.skipped), len(rows(world))) == (0, 1, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Europe/Berlin", "Europe/Berlin"), ("W. Europe Standard Time", "Europe/Berlin"), ("Mars", None), ("", None)],
)
def test_zone_names(name: str, expected: str | None) -> None:
    assert zones.by_name(name) == expected
