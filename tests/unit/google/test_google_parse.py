"""Google's event JSON in our words: times above all, since a wrong hour is a missed meeting."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.event import Attendee, Awkward, Event, Tombstone
from calendar_pipeline.history.accept import Prepared, prepare
from calendar_pipeline.providers.google import parse

BERLIN = "Europe/Berlin"


def raw(**given: Any) -> dict[str, Any]:
    """An event; None leaves a key out."""
    whole: dict[str, Any] = {
        "id": "e1",
        "status": "confirmed",
        "summary": "Weekly",
        "iCalUID": "e1@google.com",
        "start": {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": BERLIN},
        "end": {"dateTime": "2026-11-24T15:30:00+01:00", "timeZone": BERLIN},
        **given,
    }
    return {key: value for key, value in whole.items() if value is not None}


def event(*, zone: str | None = BERLIN, **given: Any) -> Event:
    told = parse.item(raw(**given), zone=zone)
    assert isinstance(told, Event), told
    return told


def reason(*, zone: str | None = BERLIN, **given: Any) -> str:
    told = parse.item(raw(**given), zone=zone)
    assert isinstance(told, Awkward), told
    return told.reason


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


# -- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "zone", "at"),
    [
        pytest.param({"dateTime": "2026-11-24T15:00:00+01:00"}, BERLIN, utc(2026, 11, 24, 14), id="offset"),
        pytest.param({"dateTime": "2026-11-24T15:00:00Z"}, BERLIN, utc(2026, 11, 24, 15), id="zulu"),
        pytest.param(
            {"dateTime": "2026-11-24T15:00:00.250-03:30"}, None, utc(2026, 11, 24, 18, 30, 0, 250_000), id="odd-offset"
        ),
        pytest.param(
            {"dateTime": "2026-11-24T15:00:00+01:00", "timeZone": "Asia/Tokyo"},
            BERLIN,
            utc(2026, 11, 24, 14),
            id="offset-beats-zone",
        ),
        pytest.param(
            {"dateTime": "2026-11-24T15:00:00", "timeZone": "Asia/Tokyo"}, BERLIN, utc(2026, 11, 24, 6), id="floating"
        ),
        pytest.param(
            {"dateTime": "2026-11-24T15:00:00"}, BERLIN, utc(2026, 11, 24, 14), id="floating-in-the-calendars-zone"
        ),
        pytest.param({"dateTime": "2026-11-24T15:00:00"}, None, utc(2026, 11, 24, 15), id="floating-without-any-zone"),
        pytest.param(
            {"dateTime": "2026-03-29T02:30:00", "timeZone": BERLIN},
            None,
            utc(2026, 3, 29, 1, 30),
            id="hour-that-is-skipped",
        ),
        pytest.param(
            {"dateTime": "2026-10-25T02:30:00", "timeZone": BERLIN},
            None,
            utc(2026, 10, 25, 0, 30),
            id="hour-that-comes-twice",
        ),
        pytest.param(
            {"dateTime": "2026-10-25T02:30:00+01:00", "timeZone": BERLIN},
            None,
            utc(2026, 10, 25, 1, 30),
            id="its-second-time",
        ),
    ],
)
def test_a_timed_event_starts_at_one_instant(start: dict[str, str], zone: str | None, at: datetime) -> None:
    told = event(start=start, end={"dateTime": "2026-12-24T15:00:00Z"}, zone=zone)
    assert told.starts_at == told.start_time == at
    assert not told.is_all_day


@pytest.mark.parametrize(
    ("day", "zone", "at"),
    [
        pytest.param("2026-11-24", BERLIN, utc(2026, 11, 23, 23), id="winter"),
        pytest.param("2026-07-24", BERLIN, utc(2026, 7, 23, 22), id="summer"),
        pytest.param("2026-11-24", "America/Los_Angeles", utc(2026, 11, 24, 8), id="west"),
        pytest.param("2026-11-24", "Pacific/Kiritimati", utc(2026, 11, 23, 10), id="far-east"),
        pytest.param("2026-11-24", None, utc(2026, 11, 24), id="no-zone"),
        pytest.param("2026-09-06", "America/Santiago", utc(2026, 9, 6, 4), id="midnight-that-is-skipped"),
    ],
)
def test_an_all_day_event_starts_at_midnight_in_its_calendars_zone_and_is_shown_in_utc(
    day: str, zone: str | None, at: datetime
) -> None:
    told = event(start={"date": day}, end={"date": "2026-12-25"}, zone=zone)
    assert told.starts_at == at
    assert told.start_time == datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert told.end_time == utc(2026, 12, 25)
    assert (told.start_date, told.end_date) == (date.fromisoformat(day), date(2026, 12, 25))
    assert told.time_zone == zone


def test_an_all_day_event_with_a_zone_of_its_own_is_shown_in_it() -> None:
    own = {"date": "2026-11-24", "timeZone": "Asia/Tokyo"}
    told = event(start=own, end={"date": "2026-11-25", "timeZone": "Asia/Tokyo"})
    assert told.starts_at == told.start_time == utc(2026, 11, 23, 15)
    assert told.time_zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("day", "next_day", "hours"),
    [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25), ("2026-11-24", "2026-11-25", 24)],
    ids=["spring", "autumn", "ordinary"],
)
def test_a_day_is_as_long_as_its_zone_makes_it(day: str, next_day: str, hours: int) -> None:
    told = event(start={"date": day}, end={"date": next_day})
    assert (told.ends_at - told.starts_at).total_seconds() == hours * 3600
    assert (told.end_time - told.start_time).total_seconds() == 24 * 3600


def test_an_event_without_length_is_an_event() -> None:
    at = {"dateTime": "2026-11-24T15:00:00Z"}
    told = event(start=at, end=at)
    assert told.starts_at == told.ends_at


def test_the_last_hour_of_the_calendar_is_an_event() -> None:
    told = event(start={"dateTime": "9999-12-31T10:00:00Z"}, end={"dateTime": "9999-12-31T11:00:00Z"})
    assert told.ends_at == utc(9999, 12, 31, 11)


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        pytest.param({"start": None}, "no_start", id="no-start"),
        pytest.param({"end": None}, "no_end", id="no-end"),
        pytest.param({"start": {}}, "no_start", id="empty-start"),
        pytest.param({"end": {"dateTime": 5}}, "no_end", id="end-a-number"),
        pytest.param({"start": "2026-11-24"}, "no_start", id="start-a-text"),
        pytest.param({"start": {"dateTime": "tomorrow"}}, "bad_start", id="start-in-words"),
        pytest.param({"end": {"date": "2026-02-30"}}, "bad_end", id="day-that-is-not"),
        pytest.param({"start": {"dateTime": "9999-12-31T23:59:00-10:00"}}, "bad_start", id="start-after-the-last-day"),
        pytest.param({"end": {"dateTime": "0001-01-01T00:00:00+10:00"}}, "bad_end", id="end-before-the-first-day"),
        pytest.param({"end": {"dateTime": "2026-11-24T14:59:59+01:00"}}, "ends_before_it_starts", id="backwards"),
        pytest.param({"end": {"date": "2026-11-26"}}, "half_all_day", id="half-all-day"),
        pytest.param(
            {"start": {"dateTime": "2026-11-24T15:00:00", "timeZone": "Mars/Base"}}, "unknown_zone", id="mars"
        ),
        pytest.param(
            {"start": {"dateTime": "2026-11-24T15:00:00", "timeZone": "../../etc/passwd"}}, "unknown_zone", id="path"
        ),
        pytest.param(
            {"start": {"dateTime": "2026-11-24T15:00:00", "timeZone": "Europe"}}, "unknown_zone", id="directory"
        ),
        pytest.param({"start": {"dateTime": "2026-11-24T15:00:00", "timeZone": "a\0b"}}, "unknown_zone", id="nul"),
        pytest.param({"originalStartTime": {}}, "no_originalStartTime", id="empty-original-start"),
    ],
)
def test_an_event_without_usable_times_is_set_aside(given_: dict[str, Any], why: str) -> None:
    assert reason(**given_) == why


def test_an_all_day_event_in_a_calendar_of_an_unknown_zone_is_set_aside() -> None:
    assert reason(start={"date": "2026-11-24"}, end={"date": "2026-11-25"}, zone="Mars/Base") == "unknown_zone"


def test_a_zone_that_is_not_needed_may_be_unknown() -> None:
    assert event(
        start={"dateTime": "2026-11-24T15:00:00Z", "timeZone": "Mars/Base"}, end={"dateTime": "2026-11-24T16:00:00Z"}
    )


# -- identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stub",
    [
        {"id": "e1", "status": "cancelled"},
        raw(status="cancelled"),
        {"id": "e1", "status": "cancelled", "recurringEventId": "s", "originalStartTime": {"date": "2026-11-24"}},
        {"id": "e1", "status": "cancelled", "start": "nonsense"},
    ],
    ids=["id-only", "in-full", "exception", "nonsense"],
)
def test_a_cancelled_item_is_a_tombstone_whatever_else_it_says(stub: dict[str, Any]) -> None:
    assert parse.item(stub, zone=None) == Tombstone(provider_event_id="e1", with_instances=True)


@pytest.mark.parametrize("bad", [None, "", 5, ["e1"]], ids=["missing", "empty", "number", "list"])
def test_an_item_without_an_id_is_set_aside(bad: object) -> None:
    told = parse.item({"id": bad, "status": "cancelled"}, zone=None)
    assert isinstance(told, Awkward)
    assert (told.provider_event_id, told.reason) == ("", "no_id")


@pytest.mark.parametrize("status", ["confirmed", "cancelled"])
@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "e" * 1025, "é\n"], ids=["nul", "surrogate", "long", "line-feed"])
def test_an_id_that_cannot_be_one_is_set_aside_under_a_name_that_can_be_stored(bad: str, status: str) -> None:
    told = parse.item(raw(id=bad, status=status), zone=None)
    assert isinstance(told, Awkward)
    assert told.reason == "bad_id"
    assert told.provider_event_id.isascii()
    assert told.provider_event_id.isprintable()
    assert 0 < len(told.provider_event_id) <= 1024


def test_an_instance_knows_its_series_and_its_original_start() -> None:
    told = event(recurringEventId="s1", originalStartTime={"dateTime": "2026-11-24T10:00:00+01:00"})
    assert (told.series_id, told.original_starts_at) == ("s1", utc(2026, 11, 24, 9))


def test_an_all_day_instance_was_meant_for_midnight_in_its_calendars_zone() -> None:
    assert event(originalStartTime={"date": "2026-11-24"}).original_starts_at == utc(2026, 11, 23, 23)


# -- people ------------------------------------------------------------------------------------------------


def test_guests_may_lack_everything() -> None:
    told = event(
        attendees=[{}, {"email": "a@example.com", "responseStatus": "maybe"}, "x", {"displayName": "B", "email": 5}]
    )
    assert told.attendees == (
        Attendee(email=None, name=None),
        Attendee(email="a@example.com", name=None),
        Attendee(email=None, name="B"),
    )


def test_no_guests_is_an_empty_list() -> None:
    assert event().attendees == ()
    assert event(attendees="many").attendees == ()


@pytest.mark.parametrize(
    ("given_", "own"),
    [
        pytest.param({"attendees": [{"self": True, "responseStatus": "declined"}]}, "declined", id="declined"),
        pytest.param(
            {"attendees": [{"self": True, "responseStatus": "needsAction"}]}, "needs_action", id="no-answer-yet"
        ),
        pytest.param({"attendees": [{"responseStatus": "declined"}]}, None, id="someone-elses-answer"),
        pytest.param({"organizer": {"self": True}}, "organizer", id="organizer-without-guests"),
        pytest.param(
            {"organizer": {"self": True}, "attendees": [{"self": True, "responseStatus": "accepted"}]},
            "accepted",
            id="organizer-who-answered",
        ),
        pytest.param({"organizer": {"email": "x@example.com"}}, None, id="someone-elses-event"),
        pytest.param({}, None, id="nobody"),
    ],
)
def test_the_owners_own_answer(given_: dict[str, Any], own: str | None) -> None:
    assert event(**given_).own_response == own


# -- meeting links -----------------------------------------------------------------------------------------

MEET, ZOOM = "https://meet.google.com/abc-defg-hij", "https://example.zoom.us/j/12345678901"
VIDEO = {"entryPointType": "video", "uri": ZOOM}
PHONE = {"entryPointType": "phone", "uri": "tel:+1-555"}


@pytest.mark.parametrize(
    ("given_", "link"),
    [
        pytest.param({"conferenceData": {"entryPoints": [PHONE, VIDEO]}}, ZOOM, id="conference-video"),
        pytest.param(
            {"conferenceData": {"entryPoints": [VIDEO]}, "hangoutLink": MEET}, ZOOM, id="conference-before-hangout"
        ),
        pytest.param({"conferenceData": {"entryPoints": [PHONE]}, "hangoutLink": MEET}, MEET, id="hangout"),
        pytest.param(
            {"conferenceData": {"createRequest": {"status": {"statusCode": "pending"}}}}, None, id="being-made"
        ),
        pytest.param({"conferenceData": []}, None, id="odd-conference"),
        pytest.param({"hangoutLink": MEET, "description": ZOOM}, MEET, id="hangout-before-description"),
        pytest.param({"hangoutLink": MEET, "location": ZOOM}, ZOOM, id="location-before-an-automatic-meet"),
        pytest.param({"location": f"Room 5; {ZOOM}", "description": MEET}, ZOOM, id="location-before-description"),
        pytest.param({"description": f"Join:\n{ZOOM}\n"}, ZOOM, id="description"),
        pytest.param({"description": f'<p><a href="{ZOOM}">join</a></p>'}, ZOOM, id="description-in-html"),
        pytest.param({"summary": f"call {MEET}"}, MEET, id="title"),
        pytest.param({"description": "https://example.com/agenda"}, None, id="another-page"),
        pytest.param({"hangoutLink": 5, "location": None, "description": ["x"]}, None, id="odd-types"),
    ],
)
def test_the_meeting_link_is_found(given_: dict[str, Any], link: str | None) -> None:
    assert event(**given_).meeting_url == link


def test_more_hosts_can_be_named() -> None:
    told = parse.item(raw(location="https://video.example.org/room/1"), zone=None, hosts=("video.example.org",))
    assert isinstance(told, Event)
    assert told.meeting_url == "https://video.example.org/room/1"


# -- the rest ----------------------------------------------------------------------------------------------


def test_a_private_event_without_details_is_an_event() -> None:
    told = event(summary=None, visibility="private", transparency="opaque")
    assert (told.title, told.visibility, told.attendees, told.meeting_url) == (None, "private", (), None)


def test_plain_facts_are_taken_over() -> None:
    told = event(
        status="tentative",
        transparency="transparent",
        eventType="focusTime",
        location="Room",
        organizer={"email": "o@example.com"},
        updated="2026-11-20T08:00:00.000Z",
    )
    assert (told.status, told.is_busy, told.event_type) == ("tentative", False, "focusTime")
    assert (told.location, told.organizer_email) == ("Room", "o@example.com")
    assert (told.ical_uid, told.provider_updated_at) == ("e1@google.com", utc(2026, 11, 20, 8))


@pytest.mark.parametrize("updated", ["yesterday", "2026-11-20T08:00:00", 5, "9999-12-31T23:59:59-10:00"])
def test_an_unreadable_modification_time_is_none(updated: object) -> None:
    assert event(updated=updated).provider_updated_at is None


def test_long_texts_are_cut_in_raw_and_nothing_else_is() -> None:
    given_ = {"description": "d" * 8001, "summary": "s" * 8001, "location": "l" * 8001}
    told = event(**given_)
    assert told.raw == raw(**given_) | {"description": "d" * 8000, "summary": "s" * 8000}
    assert told.title == "s" * 8001


def test_a_link_beyond_the_cut_is_found() -> None:
    assert event(description="d " * 5000 + ZOOM).meeting_url == ZOOM


def test_unknown_keys_are_kept() -> None:
    assert event(eventLabelId="7").raw["eventLabelId"] == "7"


TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["cancelled", "2026-11-24", "2026-11-24T10:00:00", "9999-12-31T23:59:59-12:00", "Mars/Base", "\0", ZOOM, BERLIN]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["date", "dateTime", "timeZone", "self", "email", "uri"]) | TEXTS, inner, max_size=4
        )
    ),
    max_leaves=8,
)
KEYS = [
    *("id", "status", "summary", "description", "location", "start", "end", "originalStartTime", "recurringEventId"),
    *("attendees", "organizer", "conferenceData", "hangoutLink", "updated", "iCalUID", "eventType", "etag"),
]


@given(st.dictionaries(st.sampled_from(KEYS) | TEXTS, ANY, max_size=8), st.none() | TEXTS)
def test_no_json_is_too_odd(odd: dict[str, Any], zone: str | None) -> None:
    parse.item(odd, zone=zone)
    parse.item(raw(**odd), zone=zone)


@given(st.dictionaries(st.sampled_from(KEYS) | TEXTS, ANY, max_size=6))
def test_what_is_parsed_can_be_stored_or_is_set_aside(odd: dict[str, Any]) -> None:
    told = parse.item(raw(**odd), zone=BERLIN)
    if isinstance(told, Event) and isinstance(kept := prepare(told), Prepared):
        for value in kept.row.values():
            if isinstance(value, str):
                assert "\0" not in value
                value.encode()
