"""What `providers/port.py` promises, held against all implementations: the fake, and the clients at their sandboxes."""

from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from calendar_pipeline.errors import (
    AccessRevoked,
    CursorExpired,
    OperatorMustAct,
    RateLimited,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.event import Event, Tombstone
from calendar_pipeline.providers.port import Cursor, Known, Meter, News, Window, is_fresh

TOMORROW = "2026-11-24T15:00"


def events(news: News) -> dict[str, Event]:
    return {item.provider_event_id: item for item in news.items if isinstance(item, Event)}


def gone(reader: Any, news: News, event: str) -> bool:
    """Whether the news say that an event is gone: by name, or by leaving it out of a complete listing."""
    tombs = {item.provider_event_id for item in news.items if isinstance(item, Tombstone)}
    return event in tombs or (news.complete is not None and event not in events(news))


def known(event: Event) -> Known:
    return Known(
        provider_event_id=event.provider_event_id,
        series_id=event.series_id,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
    )


def look_up(reader: Any, *missing: Known) -> dict[str, Event]:
    found = reader.provider.look_up(
        reader.grant, reader.world.calendar, missing, time_zone="Europe/Berlin", meter=reader.meter
    )
    return {item.provider_event_id: item for item in found if isinstance(item, Event)}


def test_a_first_read_names_all_events_of_the_window_and_says_so(reader: Any) -> None:
    ids = {reader.world.add(f"No {number}", TOMORROW) for number in range(12)}
    news = reader.news()
    assert set(events(news)) == ids
    assert news.complete is not None
    assert news.cursor.parameters == reader.provider.parameters


def test_an_empty_calendar_is_a_complete_listing_of_nothing(reader: Any) -> None:
    news = reader.news()
    assert (list(news.items), news.complete is not None) == ([], True)


@pytest.mark.parametrize("start", ["2026-10-01T10:00", "2027-02-01T10:00"], ids=["before", "after"])
def test_what_lies_outside_the_window_is_not_listed(reader: Any, start: str) -> None:
    reader.world.add("Elsewhere", start)
    assert events(reader.news()) == {}


def test_an_event_that_reaches_into_the_window_is_listed(reader: Any) -> None:
    long = reader.world.add("Long", "2026-11-21T10:00", minutes=3 * 24 * 60)
    assert set(events(reader.news())) == {long}


def test_times_are_true_instants(reader: Any) -> None:
    event = reader.world.add("Meeting", TOMORROW, minutes=45)
    told = events(reader.news())[event]
    assert (told.starts_at, told.ends_at) == (
        datetime(2026, 11, 24, 14, 0, tzinfo=UTC),
        datetime(2026, 11, 24, 14, 45, tzinfo=UTC),
    )
    assert (told.title, told.is_all_day) == ("Meeting", False)


def test_an_all_day_event_is_its_days_from_midnight_in_its_zone(reader: Any) -> None:
    event = reader.world.add_days("Off", date(2026, 11, 25), date(2026, 11, 27))
    told = events(reader.news())[event]
    assert (told.start_date, told.end_date) == (date(2026, 11, 25), date(2026, 11, 27))
    assert told.starts_at == datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert told.ends_at == datetime(2026, 11, 26, 23, tzinfo=UTC)


def test_a_series_is_told_by_its_instances_each_naming_it(reader: Any) -> None:
    series = reader.world.add_series("Daily", TOMORROW, 5)
    told = events(reader.news())
    assert len(told) == 5
    assert {event.series_id for event in told.values()} == {series}
    assert series not in told
    assert len({event.starts_at for event in told.values()}) == 5


def test_without_news_there_is_one_request_and_the_cursor_goes_on(reader: Any) -> None:
    for number in range(30):
        reader.world.add(f"No {number}", TOMORROW)
    cursor = reader.news().cursor
    for _ in range(3):
        before = reader.meter.requests
        news = reader.news(cursor)
        assert (list(news.items), news.complete, reader.meter.requests - before) == ([], None, 1)
        cursor = news.cursor


def test_what_changed_is_told(reader: Any) -> None:
    event, other = reader.world.add("Before", TOMORROW), reader.world.add("Other", TOMORROW)
    cursor = reader.news().cursor
    reader.world.retitle(event, "After")
    new = reader.world.add("New", TOMORROW)
    told = events(reader.news(cursor))
    assert (told[event].title, told[new].title) == ("After", "New")
    assert other not in told or told[other].title == "Other"


def test_what_was_told_once_is_not_told_as_changed_again(reader: Any) -> None:
    event = reader.world.add("Before", TOMORROW)
    cursor = reader.news().cursor
    reader.world.retitle(event, "After")
    cursor = reader.news(cursor).cursor
    assert list(reader.news(cursor).items) == []


def test_a_cursor_can_be_read_from_twice(reader: Any) -> None:
    """A worker that died after it read leaves the cursor as it was."""
    cursor = reader.news().cursor
    event = reader.world.add("New", TOMORROW)
    assert event in events(reader.news(cursor))
    assert event in events(reader.news(cursor))


def test_what_was_deleted_is_gone(reader: Any) -> None:
    event, kept = reader.world.add("Gone", TOMORROW), reader.world.add("Kept", TOMORROW)
    cursor = reader.news().cursor
    reader.world.delete(event)
    news = reader.news(cursor)
    assert gone(reader, news, event)
    assert not gone(reader, news, kept)


def test_a_deleted_instance_is_gone_and_its_series_is_not(reader: Any) -> None:
    reader.world.add_series("Daily", TOMORROW, 5)
    first = reader.news()
    doomed, *kept = sorted(events(first), key=lambda key: events(first)[key].starts_at)
    reader.world.delete(doomed)
    news = reader.news(first.cursor)
    assert gone(reader, news, doomed)
    assert not any(gone(reader, news, key) for key in kept)


def test_a_deleted_series_is_gone_with_all_its_instances(reader: Any) -> None:
    series = reader.world.add_series("Daily", TOMORROW, 5)
    first = reader.news()
    reader.world.delete(series)
    news = reader.news(first.cursor)
    tombs = [item for item in news.items if isinstance(item, Tombstone)]
    whole = any(tomb.provider_event_id == series and tomb.with_instances for tomb in tombs)
    assert whole or all(gone(reader, news, key) for key in events(first))


def test_a_missing_event_that_moved_away_is_found_by_its_id(reader: Any) -> None:
    event = reader.world.add("Later", TOMORROW)
    held = events(reader.news())[event]
    reader.world.move(event, days=200)
    assert event not in events(reader.news())
    found = look_up(reader, known(held))
    assert found[event].starts_at > held.starts_at + timedelta(days=199)


def test_a_missing_event_that_is_gone_is_not_found(reader: Any) -> None:
    event, moved = reader.world.add("Gone", TOMORROW), reader.world.add("Moved", TOMORROW)
    held = events(reader.news())
    reader.world.delete(event)
    reader.world.move(moved, days=200)
    assert set(look_up(reader, known(held[event]), known(held[moved]))) == {moved}


def test_the_instances_of_a_series_that_is_gone_cost_one_question(reader: Any) -> None:
    series = reader.world.add_series("Daily", TOMORROW, 10)
    held = events(reader.news())
    reader.world.delete(series)
    before = reader.meter.requests
    assert look_up(reader, *(known(event) for event in held.values())) == {}
    assert reader.meter.requests - before == 1


def test_a_listing_that_misses_very_much_is_believed_without_questions(reader: Any) -> None:
    reader.world.add("Moved", TOMORROW)
    [held] = events(reader.news()).values()
    before = reader.meter.requests
    many = [
        Known(provider_event_id=f"x{number}", series_id=None, starts_at=held.starts_at, ends_at=held.ends_at)
        for number in range(21)
    ]
    assert look_up(reader, *many) == {}
    assert reader.meter.requests == before


def test_a_cursor_that_is_not_honoured_leads_to_a_listing(reader: Any) -> None:
    event = reader.world.add("Before", TOMORROW)
    cursor = reader.news().cursor
    reader.world.retitle(event, "After")
    reader.world.expire_cursors()
    news = reader.news(cursor)
    assert (news.why, news.complete is not None) == ("cursor_expired", True)
    assert events(news)[event].title == "After"
    assert reader.news(news.cursor).why == "changes"


def test_a_cursor_that_was_never_given_leads_to_a_listing(reader: Any) -> None:
    if reader.world.__class__.__name__ == "Fake":
        return  # its cursors are numbers, and every number was given once
    given = reader.news().cursor
    wrong = given.token + "x" if "deltatoken" in given.token else "nonsense"
    forged = Cursor(token=wrong, parameters=reader.provider.parameters, window=given.window)
    assert reader.news(forged).complete is not None


def test_a_listing_that_is_asked_for_is_made_even_without_news(reader: Any) -> None:
    event = reader.world.add("Meeting", TOMORROW)
    cursor = reader.news().cursor
    news = reader.news(cursor, relist=True)
    assert set(events(news)) == {event}
    assert news.announced == frozenset()


def test_a_listing_compares_with_what_the_cursor_announces_or_says_that_it_cannot(reader: Any) -> None:
    event = reader.world.add("Before", TOMORROW)
    cursor = reader.news().cursor
    reader.world.retitle(event, "After")
    announced = reader.news(cursor, relist=True).announced
    assert announced is None or event in announced


def test_the_listed_window_is_the_one_that_was_asked_for(reader: Any) -> None:
    late = reader.world.add("Late", "2027-01-20T10:00")
    cursor = reader.news().cursor
    now = datetime(2027, 1, 1, tzinfo=UTC)
    later = Window(start=now - timedelta(days=1), end=now + timedelta(days=36))
    news = reader.news(cursor, window=later, relist=True)
    assert (news.complete, set(events(news))) == (later, {late})
    assert news.cursor.window == later


def test_an_access_token_lasts_for_a_read(reader: Any, clock: Any) -> None:
    assert is_fresh(reader.grant, now=clock())
    assert not is_fresh(reader.grant, now=reader.grant.expires_at - timedelta(seconds=60))


def test_a_refused_access_token_is_refused_as_such(reader: Any) -> None:
    reader.world.kill_access_tokens()
    with pytest.raises(TokenRefused):
        reader.news()
    reader.grant = reader.authorize()
    reader.news()


def test_a_provider_that_is_down_is_to_be_tried_later(reader: Any) -> None:
    reader.world.trouble("down")
    with pytest.raises(TryLater):
        reader.news()


@pytest.mark.parametrize("kind", ["html", "truncated"])
def test_an_answer_that_cannot_be_read_is_an_error_and_no_empty_calendar(reader: Any, kind: str) -> None:
    reader.world.add("Meeting", TOMORROW)
    reader.world.trouble(kind)
    reader.world.trouble(kind)  # a broken connection is tried once more
    with pytest.raises(TryLater):
        reader.news()


def test_a_provider_that_asks_us_to_slow_down_says_for_how_long(reader: Any) -> None:
    reader.world.trouble("throttled", retry_after=120)
    with pytest.raises(RateLimited) as raised:
        reader.news()
    assert raised.value.retry_after == timedelta(seconds=120)


def test_a_withdrawn_grant_is_the_users_to_renew(reader: Any) -> None:
    reader.world.withdraw()
    with pytest.raises(AccessRevoked) as raised:
        reader.authorize()
    assert not raised.value.needs_confirmation
    assert raised.value.body is not None


def test_a_refused_client_is_the_operators_matter(reader: Any) -> None:
    reader.world.break_client()
    with pytest.raises(OperatorMustAct):
        reader.authorize()


def test_a_calendar_that_is_gone_is_a_verdict_to_be_confirmed(reader: Any) -> None:
    reader.world.delete_calendar()
    with pytest.raises(AccessRevoked) as raised:
        reader.news()
    assert raised.value.needs_confirmation


def test_every_request_waits_for_its_turn_and_is_counted(reader: Any) -> None:
    reader.world.add("Meeting", TOMORROW)
    turns: list[str] = []

    @contextmanager
    def turn() -> Any:
        turns.append("taken")
        yield
        turns.append("given back")

    reader.meter = Meter(turn=turn)
    reader.grant = reader.authorize()
    reader.news(reader.news().cursor)
    assert turns == ["taken", "given back"] * reader.meter.requests
    assert reader.meter.requests >= 3


def test_without_a_turn_nothing_is_asked(reader: Any) -> None:
    @contextmanager
    def no_turn() -> Any:
        raise TryLater("own_rate_limit")
        yield

    reader.meter = Meter(turn=no_turn)
    with pytest.raises(TryLater):
        reader.news()
    with pytest.raises(TryLater):
        reader.authorize()
    assert reader.meter.requests == 0


def test_secrets_do_not_show_when_printed(reader: Any) -> None:
    news = reader.news()
    shown = repr((reader.grant, news.cursor, reader.world.credentials))
    for secret in (reader.grant.access_token, news.cursor.token, reader.world.credentials.refresh_token):
        assert f"'{secret}'" not in shown


def test_a_cursor_error_never_leaves_a_read(reader: Any) -> None:
    """`CursorExpired` is between a provider and itself: whoever reads gets a listing."""
    cursor = reader.news().cursor
    reader.world.expire_cursors()
    try:
        reader.news(cursor)
        reader.news(cursor, relist=True)
    except CursorExpired:
        pytest.fail("it did")
