"""Graph's event JSON in our words."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.event import Awkward, Event, Tombstone
from calendar_pipeline.providers.microsoft import parse

TEAMS = (
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_abc%40thread.v2/0"
    "?context=%7b%22Tid%22%3a%22t-1%22%2c%22Oid%22%3a%22o-1%22%7d"
)


def raw(**fields: Any) -> dict[str, Any]:
    return {
        "id": "AAMkOne",
        "type": "singleInstance",
        "subject": "One",
        "start": {"dateTime": "2026-11-24T14:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-11-24T14:30:00.0000000", "timeZone": "UTC"},
        "originalStartTimeZone": "W. Europe Standard Time",
        **fields,
    }


def event(**fields: Any) -> Event:
    item = parse.item(raw(**fields))
    assert isinstance(item, Event)
    return item


def test_seven_fraction_digits_and_no_offset_are_utc() -> None:
    one = event()
    assert (one.starts_at, one.ends_at) == (
        datetime(2026, 11, 24, 14, tzinfo=UTC),
        datetime(2026, 11, 24, 14, 30, tzinfo=UTC),
    )
    assert (one.start_time, one.is_all_day, one.time_zone) == (one.starts_at, False, "W. Europe Standard Time")


def midnights(first: str, last: str) -> dict[str, Any]:
    stamps = {"start": first, "end": last}
    return {key: {"dateTime": f"{day}T00:00:00.0000000", "timeZone": "UTC"} for key, day in stamps.items()}


@pytest.mark.parametrize(
    ("zone", "starts_at"),
    [
        ("W. Europe Standard Time", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        ("tzone://Microsoft/Custom", datetime(2026, 11, 24, tzinfo=UTC)),
        ("Customized Time Zone", datetime(2026, 11, 24, tzinfo=UTC)),
        (None, datetime(2026, 11, 24, tzinfo=UTC)),
    ],
)
def test_an_all_day_event_begins_at_midnight_of_its_own_zone(zone: str | None, starts_at: datetime) -> None:
    one = event(isAllDay=True, originalStartTimeZone=zone, **midnights("2026-11-24", "2026-11-25"))
    assert one.starts_at == starts_at
    assert (one.start_date, one.end_date) == (date(2026, 11, 24), date(2026, 11, 25))
    assert one.start_time == datetime(2026, 11, 24, tzinfo=UTC), "the API shows the dates as UTC midnights"


@pytest.mark.parametrize("fields", [{"isCancelled": True}, {"@removed": {"reason": "deleted"}}])
def test_what_is_cancelled_or_removed_is_gone(fields: dict[str, Any]) -> None:
    assert parse.item(raw(**fields)) == Tombstone(provider_event_id="AAMkOne", with_instances=True)


def test_a_tombstone_may_carry_only_its_id() -> None:
    assert isinstance(parse.item({"id": "X", "@removed": {"reason": "deleted"}}), Tombstone)


def test_a_series_master_is_no_meeting() -> None:
    assert parse.item(raw(type="seriesMaster")) is None


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param({"onlineMeeting": {"joinUrl": TEAMS}}, "teams", id="join-url"),
        pytest.param({"onlineMeetingUrl": TEAMS}, "teams", id="deprecated-field"),
        pytest.param({"subject": "Call https://zoom.us/j/123456789"}, "zoom", id="subject"),
        pytest.param(
            {"body": {"contentType": "html", "content": '<a href="https://meet.google.com/abc-defg-hij">x</a>'}},
            "google_meet",
            id="body",
        ),
        pytest.param({"location": {"displayName": "https://zoom.us/j/123456789"}}, "zoom", id="location"),
        pytest.param({"location": {"displayName": "Room 4"}}, None, id="none"),
    ],
)
def test_where_a_meeting_link_is_found(fields: dict[str, Any], found: str | None) -> None:
    assert event(**fields).meeting_platform == found


def test_people_and_answers() -> None:
    one = event(
        attendees=[
            {
                "type": "optional",
                "status": {"response": "tentativelyAccepted"},
                "emailAddress": {"name": "Bo", "address": "bo@example.com"},
            },
            {"type": "required", "emailAddress": {"name": "No address"}},
        ],
        organizer={"emailAddress": {"address": "ada@example.com"}},
        responseStatus={"response": "declined"},
    )
    assert [(person.email, person.name, person.response, person.is_optional) for person in one.attendees] == [
        ("bo@example.com", "Bo", "tentative", True),
        (None, "No address", None, False),
    ]
    assert (one.organizer_email, one.own_response) == ("ada@example.com", "declined")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"start": None}, "no_start", id="no-start"),
        pytest.param({"end": {}}, "no_end", id="no-end"),
        pytest.param(
            {"end": {"dateTime": "2026-11-24T13:00:00", "timeZone": "UTC"}}, "ends_before_it_starts", id="order"
        ),
        pytest.param({"start": {"dateTime": "soon", "timeZone": "UTC"}}, "bad_start", id="not-a-time"),
        pytest.param({"start": {"dateTime": "2026-11-24T13:00:00", "timeZone": "Mars"}}, "unknown_zone", id="zone"),
        pytest.param({"id": "a\0b"}, "bad_id", id="nul-in-id"),
    ],
)
def test_what_cannot_be_kept_says_why(fields: dict[str, Any], reason: str) -> None:
    item = parse.item(raw(**fields))
    assert isinstance(item, Awkward)
    assert item.reason == reason


def test_a_long_body_is_cut_and_the_rest_is_as_received() -> None:
    one = event(body={"contentType": "text", "content": "x" * 9000}, showAs="busy")
    assert one.raw["body"] == {"contentType": "text", "content": "x" * 8000}
    assert one.raw["showAs"] == "busy"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*raw(), "isAllDay", "attendees", "body", "location", "organizer"]), JSON))
def test_no_json_is_too_odd(odd: dict[str, Any]) -> None:
    parse.item({**raw(), **odd})


EIGHT, NINE = datetime(2026, 11, 20, 8, tzinfo=UTC), datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_the_latest_of_several_stamps_counts_and_an_unreadable_one_is_none() -> None:
    stamps = parse.stamps(
        [
            {"id": "one", "lastModifiedDateTime": "2026-11-20T09:00:00.0000000Z"},
            {"id": "one", "lastModifiedDateTime": "2026-11-20T08:00:00Z"},
            {"id": "bare occurrence", "type": "occurrence"},
            {"id": "gone", "@removed": {"reason": "deleted"}},
            {"id": "odd", "lastModifiedDateTime": "yesterday"},
            {"lastModifiedDateTime": "2026-11-20T08:00:00Z"},
        ]
    )
    assert stamps == {"one": NINE}


@pytest.mark.parametrize(
    ("stamps", "at"),
    [
        ({}, None),
        ({"another": NINE}, None),
        ({"e1": EIGHT}, EIGHT),
        ({"series": NINE}, NINE),
        ({"e1": EIGHT, "series": NINE}, NINE),
        ({"e1": NINE, "series": EIGHT}, NINE),
    ],
    ids=["unknown", "of-another", "its-own", "of-its-series", "series-later", "own-later"],
)
def test_an_event_was_changed_when_it_or_its_series_was(stamps: dict[str, datetime], at: datetime | None) -> None:
    told = parse.dated(event(id="e1", seriesMasterId="series"), stamps)
    assert isinstance(told, Event)
    assert told.provider_updated_at == at


def test_what_is_no_event_has_no_time_of_change() -> None:
    gone = Tombstone(provider_event_id="e1", with_instances=True)
    assert parse.dated(gone, {"e1": NINE}) is gone
