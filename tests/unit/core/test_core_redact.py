"""What is told of an erased person is redacted as what was kept of them: otherwise each listing would be a change."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from calendar_pipeline.db.schema import calendar_event
from calendar_pipeline.event import Attendee, Event
from calendar_pipeline.history import erase, redact
from calendar_pipeline.history.accept import Prepared, prepare
from calendar_pipeline.history.redact import Person, Redactor

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
EMAILS = ("bob@example.com", "Eve.Bob@example.org", "jimbob@example.com", "bob@example.com.au")
NAMES = ("Bob", "Bob Smith", "Smith", "Zoë", "Groß", "Eve (Sales)", "Berlin", "default", "erased", "n", " ")
PIECES = (
    *EMAILS, *NAMES, "BOB", "GROSS", "Zoe\u0308", "bob%40example.com", "Bob%20Smith", "%20Bob%20", "\n", "mailto:",
    "/", "-", "x", "'", "=", "1:1 with ", "{", '{"a": "Bob"}',
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
people = st.builds(
    Attendee,
    email=st.none() | st.sampled_from(EMAILS) | texts,
    name=st.none() | st.sampled_from(EMAILS) | texts,
    response=st.sampled_from(["accepted", None]),
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    attendees = tuple(draw(st.lists(people, max_size=3)))
    title, location, link, organizer = draw(texts), draw(texts), draw(texts), draw(texts)
    raw = {
        "id": "e1", "summary": title, "location": location, "description": link, "timeZone": "Europe/Berlin",
        "organizer": {"email": organizer},
        "attendees": [{"email": one.email, "displayName": one.name, "self": one.is_self} for one in attendees],
        draw(texts): draw(texts),
    }  # fmt: skip
    return Event(
        provider_event_id="e1", title=title, location=location, meeting_url=link, starts_at=AT, ends_at=AT,
        start_time=AT, end_time=AT, time_zone="Europe/Berlin", attendees=attendees, organizer_email=organizer,
        raw=raw,
    )  # fmt: skip


persons = st.lists(
    st.tuples(st.sampled_from(EMAILS), st.lists(st.sampled_from(NAMES), max_size=3)), min_size=1, max_size=3
)


def kept(event: Event) -> dict[str, Any]:
    made = prepare(event)
    assert isinstance(made, Prepared)
    return dict(made.row)


def erased(row: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """What `erase` makes of a stored row."""
    columns = [column for column in calendar_event.columns if column.name in row and erase._readable(column)]
    return {**row, **erase._redacted(row, columns, redactor, redactor.text)}


@settings(max_examples=40)
@given(event=events(), who=persons)
@example(
    event=Event(
        provider_event_id="e1", title="1:1 with Bob Smith", starts_at=AT, ends_at=AT, start_time=AT, end_time=AT,
        raw={"summary": "1:1 with Bob Smith"},
    ),
    who=[("bob@example.com", []), ("bob@example.com", ["Bob"]), ("Eve.Bob@example.org", ["Bob Smith"])],
)  # fmt: skip
def test_what_is_told_is_redacted_as_what_was_kept(event: Event, who: list[tuple[str, list[str]]]) -> None:
    row, known = kept(event), []
    for number, (email, names) in enumerate(who):
        record = f"ers_{number}"
        row = erased(row, Redactor({email: redact.alias(record)}, names=names))
        known.append(Person(erasure=record, digest=redact.digest("p", email).hex(), names=names))
    [told] = redact.items([event], project="p", persons=known)
    assert isinstance(told, Event)
    assert kept(told) == row


def test_who_was_not_erased_is_told_as_ever() -> None:
    event = Event(
        provider_event_id="e1", title="Bobby, and Annabel", starts_at=AT, ends_at=AT, start_time=AT, end_time=AT,
        raw={"summary": "Bobby, and Annabel"},
    )  # fmt: skip
    known = [Person(erasure="ers_0", digest=redact.digest("p", "bob@example.com").hex(), names=["Bob", "Anna", " "])]
    [told] = redact.items([event], project="p", persons=known)
    assert told is event
