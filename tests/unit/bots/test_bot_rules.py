"""Which events rules want a bot for, whose bot joins a meeting, and what bad rules are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from calendar_pipeline.bots import meetings, rules
from calendar_pipeline.bots.meetings import ANOTHER, Candidate, RuledBot
from calendar_pipeline.bots.rules import Subject, Unwanted, Wanted
from calendar_pipeline.errors import SetupError
from calendar_pipeline.event import Attendee

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
ME = Attendee(email="Me@own.com", name=None, response="accepted", is_self=True)
COLLEAGUE = Attendee(email="you@own.com", name=None)
GUEST = Attendee(email="guest@other.com", name=None)
ROOM = Attendee(email="r1@resource.calendar.google.com", name=None)
HIDDEN = Attendee(email=None, name="Somebody")

EVENT = Subject(
    calendar_id="cal_a",
    title="Weekly Talk",
    starts_at=NOW + HOUR,
    time_zone="Europe/Berlin",
    link="https://zoom.us/j/1",
    organizer_email="you@own.com",
    own_response="accepted",
    attendees=(ME, COLLEAGUE),
    is_recurring=False,
)


def of(policy: str, **more: str) -> rules.Rules:
    return rules.parse(f"bot: {{name: Notes}}\nproject: {policy}\n" + "".join(f"{k}: {v}\n" for k, v in more.items()))


@pytest.mark.parametrize(
    ("policy", "change", "is_wanted", "reason"),
    [
        ("all", {}, True, "all meetings are"),
        ("none", {}, False, "no meeting of this calendar is"),
        ("{external_only: true}", {}, False, "nobody external is invited"),
        ("{external_only: true}", {"attendees": (ME, GUEST)}, True, "with external people"),
        ("{external_only: true}", {"attendees": (ME, ROOM)}, False, "nobody external is invited"),
        ("{external_only: true}", {"organizer_email": "x@other.com"}, True, "with external people"),
        ("{external_only: true, own_domains: [own.com, other.com]}", {"attendees": (ME, GUEST)}, False,
         "nobody external is invited"),
        ("{external_only: true}", {"attendees": (GUEST,)}, False,
         "whose calendar it is, is not known: set own_domains"),
        ("{external_only: true}", {"attendees": (GUEST,), "account": "me@own.com"}, True, "with external people"),
        ("{organiser_only: true}", {}, False, "somebody else called it"),
        ("{organiser_only: true}", {"own_response": "organizer"}, True, "called by the owner"),
        ("{organiser_only: true}", {"organizer_email": "me@own.com"}, True, "called by the owner"),
        ("{accepted_only: true}", {}, True, "accepted"),
        ("{accepted_only: true}", {"own_response": "organizer"}, True, "accepted"),
        ("{accepted_only: true}", {"own_response": "tentative"}, False, "not accepted by the calendar's owner"),
        ("{accepted_only: true}", {"own_response": None}, False, "not accepted by the calendar's owner"),
        ("{with_link: true}", {}, True, "with a link"),
        ("{with_link: true}", {"link": None}, False, "it has no meeting link"),
        ("{title_contains: [demo, TALK]}", {}, True, "title contains 'TALK'"),
        ("{title_contains: [demo, call]}", {}, False, "title does not contain 'demo' or 'call'"),
        ("{title_contains: [demo]}", {"title": None}, False, "title does not contain 'demo'"),
        ("{title_excludes: [talk]}", {}, False, "title contains 'talk'"),
        ("{title_excludes: [lunch]}", {}, True, "nothing excluded in its title"),
        ("{title_excludes: [lunch]}", {"title": None}, True, "nothing excluded in its title"),
        ("{minimum_attendees: 2}", {}, True, "2 people"),
        ("{minimum_attendees: 3}", {}, False, "2 people, of at least 3"),
        ("{minimum_attendees: 3}", {"attendees": (ME, COLLEAGUE, ROOM)}, False, "2 people, of at least 3"),
        ("{minimum_attendees: 3}", {"attendees": (ME, COLLEAGUE, HIDDEN)}, True, "3 people"),
        ("{recurring: true}", {}, False, "not of a series"),
        ("{recurring: true}", {"is_recurring": True}, True, "of a series"),
        ("{recurring: false}", {}, True, "not of a series"),
        ("{recurring: false}", {"is_recurring": True}, False, "of a series"),
        ("{working_hours: {}}", {}, True, "within working hours"),
        ("{working_hours: {}}", {"starts_at": NOW - HOUR}, True, "within working hours"),
        ("{working_hours: {}}", {"starts_at": NOW - HOUR - timedelta(seconds=1)}, False, "outside working hours"),
        ("{working_hours: {from: 9:00, to: 17:00}}", {"starts_at": NOW + 7 * HOUR}, False, "outside working hours"),
        ("{working_hours: {time_zone: UTC}}", {"starts_at": NOW + 7 * HOUR}, True, "within working hours"),
        ("{working_hours: {days: [sun]}}", {}, False, "outside working hours"),
        ("{working_hours: {days: [sun]}}", {"starts_at": NOW - 24 * HOUR}, True, "within working hours"),
        ("{accepted_only: true, minimum_attendees: 2}", {}, True, "accepted, 2 people"),
        ("{accepted_only: true, minimum_attendees: 9}", {}, False, "2 people, of at least 9"),
    ],
)  # fmt: skip
def test_each_condition_is_met_or_names_itself(policy, change, is_wanted, reason) -> None:
    verdict = rules.wants(of(policy), replace(EVENT, **change))
    assert verdict == (Wanted(reason) if is_wanted else Unwanted(reason))


def test_every_condition_has_a_row_above() -> None:
    (marks,) = (mark for mark in test_each_condition_is_met_or_names_itself.pytestmark if mark.name == "parametrize")
    told = " ".join(row[0] for row in marks.args[1])
    assert [name for name in rules.Policy.__struct_fields__ if name not in told] == []


def test_a_calendars_policy_stands_in_place_of_its_projects_and_an_override_before_both() -> None:
    given = of("all", calendars="{cal_a: none}")
    assert rules.wants(given, EVENT) == Unwanted("no meeting of this calendar is")
    assert rules.wants(given, replace(EVENT, calendar_id="cal_b")) == Wanted("all meetings are")
    assert rules.wants(given, EVENT, True) == Wanted("said yes for this event")
    assert rules.wants(given, replace(EVENT, calendar_id="cal_b"), False) == Unwanted("said no for this event")
    assert rules.wants(None, EVENT, True) == Unwanted("there are no rules any more")


def test_rules_are_read_as_they_were_written() -> None:
    given = of("{working_hours: {from: 08:30, to: 18:00}, title_excludes: [lunch]}", calendars="{cal_a: all}")
    assert rules.parse(rules.shown(given)) == given
    assert given.project.working_hours.end == "18:00"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bot: {name: Notes", "not YAML in line 1"),
        ("- a", "Expected `object`, got `array`"),
        ("project: all", "missing required field `bot`"),
        ("bot: {name: Notes}\nproject: {externals: true}", "unknown field `externals` - at `$.project`"),
        ("bot: {name: Notes}\nproject: {}", "write `all` or `none`"),
        ("bot: {name: Notes}\nproject: {own_domains: [a.com]}", "write `all` or `none`"),
        ("bot: {name: Notes}\nproject: some", "Invalid enum value 'some'"),
        ("bot: {name: Notes}\nproject: {working_hours: {from: 17:00, to: 09:00}}", "`from` must be before `to`"),
        ("bot: {name: Notes}\nproject: {working_hours: {time_zone: Mars/X}}", "use an IANA name"),
        ("bot: {name: Notes}\nproject: {working_hours: {days: []}}", "one day at least"),
        ("bot: {name: Notes}\nproject: {minimum_attendees: -1}", "`int` >= 0"),
        (f"bot: {{name: Notes}}\nproject: {{title_contains: {['a'] * (rules.MOST + 1)}}}", "length <= 1000"),
        ("bot: {name: Notes, settings: {recordings: {}}}", "bot.settings.recordings: there is no such setting"),
        ("bot: {name: Notes, settings: {recording_settings: {format: avi}}}", "Format must be mp4"),
        ("bot: {name: Notes, settings: {teams_settings: {use_login: 1}}}", "is not of type 'boolean'"),
    ],
)
def test_bad_rules_are_refused_with_what_to_do(text, told) -> None:
    with pytest.raises(SetupError) as refused:
        rules.parse(text)
    assert told in str(refused.value)


def candidate(name: str, calendar: str = "cal_a", **more: object) -> Candidate:
    subject = {key: more.pop(key) for key in list(more) if key in Subject.__dataclass_fields__}
    values = {
        "id": name,
        "version": 1,
        "subject": replace(EVENT, calendar_id=calendar, **subject),
        "start_time": NOW + HOUR,
        "ends_at": NOW + 2 * HOUR,
        "ical_uid": "uid",
        "original_starts_at": None,
        "meeting_key": "zoom/1",
        "is_deleted": False,
        "is_connected": True,
    }
    return Candidate(**values | more)


def bot(name: str, event: str, **more: object) -> RuledBot:
    values = {"id": name, "event_id": event, "state": "scheduled", "gone_at": None, "gone_because": None}
    values |= {"follows_start": NOW + HOUR, "ends_at": NOW + 2 * HOUR, "unwanted_because": None, "created_at": NOW}
    return RuledBot(**values | more)


def test_the_same_uid_and_original_start_or_the_same_link_and_start_are_one_meeting() -> None:
    def groups(*events: Candidate) -> list[list[str]]:
        return [[event.id for event in meeting] for meeting in meetings.group(events)]

    a = candidate("a")
    assert groups(a, candidate("b", meeting_key=None)) == [["a", "b"]]
    assert groups(a, candidate("b", original_starts_at=NOW, meeting_key=None)) == [["a"], ["b"]]
    assert groups(a, candidate("b", ical_uid="x")) == [["a", "b"]]
    assert groups(a, candidate("b", ical_uid="x", starts_at=NOW + HOUR + timedelta(seconds=1))) == [["a"], ["b"]]
    assert groups(a, candidate("b", ical_uid="x", meeting_key="zoom/2")) == [["a"], ["b"]]
    nothing = {"ical_uid": None, "meeting_key": None}
    assert groups(candidate("a", **nothing), candidate("b", **nothing)) == [["a"], ["b"]]
    chain = [a, candidate("b", ical_uid="y", meeting_key="k"), candidate("c", ical_uid="uid", meeting_key="k")]
    assert groups(*chain) == [["a", "b", "c"]]


A, B = candidate("a", "cal_2"), candidate("b", "cal_1")
ORGANISER = candidate("o", "cal_3", own_response="organizer")


@pytest.mark.parametrize(
    ("meeting", "bots", "winner", "makes", "marks"),
    [
        pytest.param([A, B], [], "b", True, {}, id="smallest calendar"),
        pytest.param([A, B, ORGANISER], [], "o", True, {}, id="organiser"),
        pytest.param([A, B, ORGANISER], [bot("1", "a")], "a", False, {}, id="who is there"),
        pytest.param([A, B], [bot("1", "a"), bot("2", "b", state="staged")], "b", False, {"1": ANOTHER}, id="further"),
        pytest.param([A, B], [bot("1", "a"), bot("2", "b", created_at=NOW - HOUR)], "b", False, {"1": ANOTHER},
                     id="older"),
        pytest.param([replace(A, override=False), B], [bot("1", "a")], "b", True, {"1": "said no for this event"},
                     id="takeover of what is not wanted"),
        pytest.param([replace(A, is_deleted=True), B], [bot("1", "a")], "b", True, {"1": ANOTHER},
                     id="takeover of what is cancelled"),
        pytest.param([replace(A, is_connected=False), B], [bot("1", "a")], "b", True, {"1": ANOTHER},
                     id="takeover of what is cut off"),
        pytest.param([replace(A, is_connected=False), B], [bot("1", "a", state="joining")], "b", False, {},
                     id="cut off on its way: it goes on"),
        pytest.param([replace(A, is_deleted=True)], [bot("1", "a")], None, False, {}, id="cancelled for all"),
        pytest.param([A], [bot("1", "a", gone_at=NOW, gone_because="not_wanted", unwanted_because="x")], "a", False,
                     {"1": None}, id="wanted again"),
        pytest.param([A], [bot("1", "a", gone_at=NOW, gone_because="deleted")], None, False, {},
                     id="deleted by a client"),
        pytest.param([replace(A, override=True, override_at=NOW + HOUR)],
                     [bot("1", "a", gone_at=NOW, gone_because="deleted")], "a", True, {}, id="yes after a deletion"),
        pytest.param([replace(A, override=True, override_at=NOW - HOUR)],
                     [bot("1", "a", gone_at=NOW, gone_because="deleted")], None, False, {}, id="yes before it"),
        pytest.param([A, B], [bot("1", "a", state="joined_recording")], "a", False, {}, id="in the meeting"),
        pytest.param([replace(A, override=False), B], [bot("1", "a", state="joined_recording")], "b", False, {},
                     id="in the meeting, though not wanted"),
        pytest.param([replace(A, start_time=NOW + 26 * HOUR)], [bot("1", "a", state="ended")], "a", True, {},
                     id="ended, and moved since"),
        pytest.param([A, B], [bot("1", "a", state="ended")], "b", False, {}, id="was there"),
        pytest.param([candidate("a", link=None)], [], "a", False, {}, id="no link yet"),
        pytest.param([candidate("a", link=None)], [bot("1", "a")], "a", False, {}, id="link lost: its bot waits"),
        pytest.param([candidate("a", link=None), B], [bot("1", "a")], "b", True, {"1": ANOTHER},
                     id="link lost here, not there"),
        pytest.param([replace(A, ends_at=NOW)], [bot("1", "a")], None, False, {}, id="over"),
    ],
)  # fmt: skip
def test_one_bot_joins_a_meeting(meeting, bots, winner, makes, marks) -> None:
    choice = meetings.choose(of("all"), meeting, bots, now=NOW)
    assert (choice.winner and choice.winner.id, choice.makes, choice.marks) == (winner, makes, marks)


def test_without_rules_their_bots_are_not_wanted() -> None:
    choice = meetings.choose(None, [A, B], [bot("1", "a")], now=NOW)
    assert (choice.makes, choice.marks) == (False, {"1": "there are no rules any more"})
