"""What is done about a bot, over every combination of its own state, its event, its link, its calendar and the time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from calendar_pipeline.bots import plan, words
from calendar_pipeline.bots.model import STATES, TERMINAL, Followed
from calendar_pipeline.bots.plan import Planned, Policy

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
POLICY = Policy(follow_declines=True)
LINK, OTHER = "https://meet.google.com/abc-defg-hij", "https://zoom.us/j/1"

STARTS = {"early": NOW + HOUR, "near": NOW + 3 * MINUTE, "now": NOW - MINUTE, "over": NOW - HOUR}
"""When the event starts; it lasts half an hour."""

BOTS = {
    "scheduled": {"phase": "scheduled"},
    "waiting": {"phase": "scheduled", "is_suspended": True, "follows_link": None},
    "staged": {"phase": "staged"},
    "sent": {"phase": "sent"},
    "handed": {"phase": "handed"},
    "replaced": {"phase": "handed", "launch": 2},
    "asked back": {"phase": "handed", "is_asked_back": True},
    "underway": {"phase": "underway"},
    "ended": {"phase": "over"},
    "cancelled": {"phase": "scheduled", "gone": "event_deleted"},
    "cut off": {"phase": "scheduled", "gone": "calendar_disconnected"},
    "doubled": {"phase": "scheduled", "gone": "calendar_disconnected", "is_key_taken": True},
    "deleted": {"phase": "scheduled", "gone": "deleted"},
    "dropped": {"phase": "scheduled", "gone": "not_wanted"},
    "bygone": {"phase": "scheduled", "gone": "event_over"},
}
CALENDARS = ("connected", "disconnected")
EVENTS = ("none", "standing", "cancelled", "declined", "unwanted")
"""`unwanted` is one whose rules do not want the bot that they made."""
LINKS = ("same", "other", "none")
TIMES = tuple(STARTS)
MOVES = ("kept", "moved", "pulled")
"""`pulled` was moved too, from two hours later: before it, the bot's time lay ahead."""

# The first line that fits says what happens; ANY fits all, and `moved` fits what was pulled as well.
# A line reads: bot, calendar, event, link, moved, time.
ANY = "*"
ALSO = {"pulled": ("moved",)}
TABLE = """
deleted    *            *          *     *     *      | kept
underway   *            *          *     *     *      | kept
ended      *            *          *     *     *      | kept

# taken away: it comes back when the reason has passed, unless the meeting is over or its key is another's
cancelled  *            none       *     *     *      | kept
cut off    *            none       *     *     *      | kept
doubled    *            none       *     *     *      | kept
dropped    *            none       *     *     *      | kept
bygone     *            none       *     *     *      | kept
cancelled  *            cancelled  *     *     *      | kept
cut off    *            cancelled  *     *     *      | cancelled kept
doubled    *            cancelled  *     *     *      | cancelled kept
dropped    *            cancelled  *     *     *      | cancelled kept
bygone     *            cancelled  *     *     *      | cancelled kept
cancelled  disconnected *          *     *     *      | suspended kept
dropped    disconnected *          *     *     *      | suspended kept
bygone     disconnected *          *     *     *      | suspended kept
cut off    disconnected *          *     *     *      | kept
doubled    disconnected *          *     *     *      | kept
cancelled  connected    declined   *     *     *      | cancelled kept
cut off    connected    declined   *     *     *      | cancelled kept
doubled    connected    declined   *     *     *      | cancelled kept
dropped    connected    declined   *     *     *      | cancelled kept
bygone     connected    declined   *     *     *      | cancelled kept
cancelled  connected    unwanted   *     *     *      | cancelled kept
cut off    connected    unwanted   *     *     *      | cancelled kept
doubled    connected    unwanted   *     *     *      | cancelled kept
dropped    connected    unwanted   *     *     *      | kept
bygone     connected    unwanted   *     *     *      | cancelled kept
cancelled  connected    standing   *     *     over   | kept
cut off    connected    standing   *     *     over   | kept
doubled    connected    standing   *     *     over   | kept
dropped    connected    standing   *     *     over   | kept
bygone     connected    standing   *     *     over   | kept
doubled    connected    standing   *     *     *      | superseded
cancelled  connected    standing   *     *     *      | restored THEN-AS-SCHEDULED
cut off    connected    standing   *     *     *      | restored THEN-AS-SCHEDULED
dropped    connected    standing   *     *     *      | restored THEN-AS-SCHEDULED
bygone     connected    standing   *     *     *      | restored THEN-AS-SCHEDULED

# the runner has it, or may have it: it is taken back once, and never from a meeting that is on
asked back *            *          *     *     *      | recalled
replaced   *            cancelled  *     *     *      | recalled
replaced   connected    declined   *     *     *      | recalled
replaced   connected    unwanted   *     *     *      | recalled
replaced   *            *          *     *     *      | kept
handed     *            cancelled  *     *     *      | recalled
handed     connected    declined   *     *     *      | recalled
handed     connected    unwanted   *     *     *      | recalled
handed     disconnected *          *     *     *      | kept
handed     *            none       *     *     *      | kept
handed     connected    standing   *     moved early  | recalled
handed     connected    standing   other *     *      | recalled
handed     connected    standing   *     *     *      | kept
sent       *            cancelled  *     *     *      | recalled
sent       connected    declined   *     *     *      | recalled
sent       connected    unwanted   *     *     *      | recalled
sent       connected    standing   *     moved early  | recalled
sent       connected    standing   other *     *      | recalled
sent       connected    standing   none  *     *      | recalled
sent       *            *          *     pulled over  | sent
sent       *            *          *     *     over   | given_up
sent       *            *          *     *     *      | sent

# nobody else knows of it: it follows
scheduled  *            cancelled  *     *     *      | cancelled kept
waiting    *            cancelled  *     *     *      | cancelled kept
staged     *            cancelled  *     *     *      | cancelled kept
scheduled  connected    declined   *     *     *      | cancelled kept
waiting    connected    declined   *     *     *      | cancelled kept
staged     connected    declined   *     *     *      | cancelled kept
scheduled  connected    unwanted   *     *     *      | cancelled kept
waiting    connected    unwanted   *     *     *      | cancelled kept
staged     connected    unwanted   *     *     *      | cancelled kept
scheduled  disconnected standing   *     *     *      | suspended kept
waiting    disconnected standing   *     *     *      | suspended kept
scheduled  disconnected declined   *     *     *      | suspended kept
waiting    disconnected declined   *     *     *      | suspended kept
scheduled  disconnected unwanted   *     *     *      | suspended kept
waiting    disconnected unwanted   *     *     *      | suspended kept
staged     disconnected *          *     *     early  | unstaged suspended kept
staged     disconnected *          *     pulled *     | unstaged suspended kept
staged     disconnected *          *     *     *      | BY-TIME
staged     *            none       *     *     *      | BY-TIME
scheduled  *            none       *     *     *      | BY-TIME
waiting    *            none       *     *     *      | BY-TIME
scheduled  connected    standing   *     pulled over  | suspended kept
waiting    connected    standing   *     pulled over  | suspended kept
staged     connected    standing   *     pulled over  | suspended kept
scheduled  connected    standing   *     moved *      | moved THEN-AS-KEPT
waiting    connected    standing   *     moved *      | moved THEN-AS-KEPT
staged     connected    standing   *     moved *      | moved THEN-AS-KEPT
scheduled  connected    standing   other *     *      | link_changed THEN-AS-SAME
staged     connected    standing   other *     *      | link_changed THEN-AS-SAME
scheduled  connected    standing   none  *     *      | suspended THEN-AS-WAITING
staged     connected    standing   none  *     *      | suspended THEN-AS-WAITING
waiting    connected    standing   none  *     *      | BY-TIME
waiting    connected    standing   *     *     *      | restored BY-TIME
scheduled  connected    standing   same  *     *      | BY-TIME
staged     connected    standing   same  *     *      | BY-TIME
"""

BY_TIME = {
    ("scheduled", "early"): ["kept"],
    ("scheduled", "near"): ["staged", "kept"],
    ("scheduled", "now"): ["staged", "sent"],
    ("scheduled", "over"): ["given_up"],
    ("staged", "early"): ["unstaged", "kept"],
    ("staged", "near"): ["kept"],
    ("staged", "now"): ["sent"],
    ("staged", "over"): ["given_up"],
    ("waiting", "early"): ["kept"],
    ("waiting", "near"): ["kept"],
    ("waiting", "now"): ["kept"],
    ("waiting", "over"): ["given_up"],
}


def rows() -> list[tuple[tuple[str, ...], str]]:
    found = []
    for line in TABLE.strip().splitlines():
        if not line or line.startswith("#"):
            continue
        left, right = line.split("|")
        name = next(bot for bot in BOTS if left.startswith(bot + " "))
        found.append(((name, *left[len(name) :].split()), right.strip()))
    return found


ROWS = rows()


def expected(bot: str, calendar: str, event: str, link: str, moved: str, time: str) -> tuple[int, list[str]]:
    """The number of the line that fits, and the decisions it stands for."""
    case = (bot, calendar, event, link, moved, time)
    fits = [
        number
        for number, (pattern, _) in enumerate(ROWS)
        if all(want in (ANY, got, *ALSO.get(got, ())) for want, got in zip(pattern, case, strict=True))
    ]
    assert fits, f"the table says nothing of {case}"
    *names, last = ROWS[fits[0]][1].split()
    match last:
        case "BY-TIME":
            rest = BY_TIME["scheduled" if "restored" in names else bot, time]
        case "THEN-AS-SCHEDULED":
            rest = expected("scheduled", calendar, event, link, moved, time)[1]
        case "THEN-AS-KEPT":
            rest = expected(bot, calendar, event, link, "kept", time)[1]
        case "THEN-AS-SAME":
            rest = expected(bot, calendar, event, "same", moved, time)[1]
        case "THEN-AS-WAITING":
            rest = ["unstaged", "kept"] if (bot, time) == ("staged", "early") else BY_TIME["waiting", time]
        case _:
            rest = [last]
    return fits[0], [*names, *rest]


def made(bot: str, calendar: str, event: str, link: str, moved: str, time: str) -> tuple[Planned, Followed | None]:
    start = STARTS[time]
    was = start + {"kept": 0 * HOUR, "moved": -MINUTE, "pulled": 2 * HOUR}[moved]
    followed = Followed(
        id="evt_x",
        calendar_id="cal_x",
        version=7,
        starts_at=start,
        ends_at=start + HOUR / 2,
        link={"same": LINK, "other": OTHER, "none": None}[link],
        is_deleted=event == "cancelled",
        own_response="declined" if event == "declined" else "accepted",
        is_connected=calendar == "connected",
    )
    planned = Planned(
        link=LINK, join_at=was, follows_start=was, follows_link=LINK, ends_at=was + HOUR / 2, phase="over"
    )
    if event == "none":
        planned = replace(planned, join_at=start, follows_start=None, follows_link=None, ends_at=start + HOUR / 2)
    planned = replace(planned, is_wanted=event != "unwanted")
    return replace(planned, **BOTS[bot]), None if event == "none" else followed


def is_distinct(bot: str, calendar: str, event: str, link: str, moved: str, time: str) -> bool:
    """Without event there is no link of it, no move and no calendar's state."""
    return event != "none" or (calendar, link, moved) == ("connected", "same", "kept")


CASES = [case for case in product(BOTS, CALENDARS, EVENTS, LINKS, MOVES, TIMES) if is_distinct(*case)]


def test_every_combination_is_decided_as_the_table_says() -> None:
    used = set()
    for case in CASES:
        bot, event = made(*case)
        number, want = expected(*case)
        _, decisions = plan.settle(bot, event, policy=POLICY, now=NOW)
        assert [words.name(decision).replace(" ", "_") for decision in decisions] == want, case
        used.add(number)
    assert used == set(range(len(ROWS)))
    assert len(CASES) == 15 * (2 * 4 * 3 * 3 * 4 + 4)


def test_planning_again_changes_nothing_more() -> None:
    """After its decisions are carried out a bot is as it should be, or waits for the runner."""
    for case in CASES:
        bot, event = made(*case)
        after, decisions = plan.settle(bot, event, policy=POLICY, now=NOW)
        again = plan.decide(plan.taken(after, decisions[-1]), event, policy=POLICY, now=NOW)
        if isinstance(decisions[-1], plan.Nothing | plan.Expire | plan.Supersede):
            assert isinstance(again, plan.Nothing), case


@pytest.mark.parametrize("case", [("scheduled", "connected", "standing", "same", "kept", "early")])
def test_a_client_that_declines_keeps_its_bot_unless_the_installation_says_otherwise(case) -> None:
    bot, event = made(*case)
    assert event is not None
    declined = replace(event, own_response="declined")
    assert plan.decide(bot, declined, policy=Policy(), now=NOW) == plan.Nothing(bot.join_at - Policy().lead)
    assert plan.decide(bot, declined, policy=POLICY, now=NOW) == plan.TakeAway("event_declined")


def test_a_clients_own_time_and_link_stay_until_the_events_change() -> None:
    bot, event = made("scheduled", "connected", "standing", "same", "kept", "early")
    assert event is not None
    own = replace(bot, join_at=bot.join_at + MINUTE, link=OTHER)
    assert isinstance(plan.decide(own, replace(event, version=8), policy=POLICY, now=NOW), plan.Nothing)
    later = replace(event, starts_at=event.starts_at + HOUR, ends_at=event.ends_at + HOUR)
    after, _ = plan.settle(own, later, policy=POLICY, now=NOW)
    assert (after.join_at, after.link) == (later.starts_at, OTHER)
    longer = replace(event, ends_at=event.ends_at + HOUR)
    after, _ = plan.settle(own, longer, policy=POLICY, now=NOW)
    assert (after.join_at, after.ends_at) == (own.join_at, longer.ends_at)
    after, _ = plan.settle(own, replace(event, link="https://zoom.us/j/2"), policy=POLICY, now=NOW)
    assert (after.join_at, after.link) == (own.join_at, "https://zoom.us/j/2")


def test_a_moved_event_that_has_begun_is_joined_at_once() -> None:
    bot, event = made("scheduled", "connected", "standing", "same", "kept", "early")
    assert event is not None
    begun = replace(event, starts_at=NOW - MINUTE, ends_at=NOW + HOUR)
    _, decisions = plan.settle(bot, begun, policy=POLICY, now=NOW)
    assert [words.name(decision) for decision in decisions] == ["moved", "staged", "sent"]


def test_without_an_end_a_bot_is_launched_as_long_as_patience_lasts() -> None:
    bot = Planned(phase="sent", join_at=NOW, link=LINK)
    end = NOW + POLICY.patience
    assert plan.decide(bot, None, policy=POLICY, now=end - MINUTE) == plan.Launch()
    assert plan.decide(bot, None, policy=POLICY, now=end) == plan.Expire()


def test_a_bot_is_handed_over_early_where_the_runner_wants_time() -> None:
    policy = Policy(early=2 * MINUTE)
    bot = Planned(phase="staged", join_at=NOW + 3 * MINUTE, link=LINK)
    assert plan.decide(bot, None, policy=policy, now=NOW) == plan.Nothing(NOW + MINUTE)
    assert plan.decide(bot, None, policy=policy, now=NOW + MINUTE) == plan.Launch()


def test_every_state_has_its_phase() -> None:
    phases = {state: plan.phase(state, sent=False, handed=False) for state in STATES}
    assert {state for state, phase in phases.items() if phase == "over"} == TERMINAL
    assert (phases["scheduled"], phases["staged"], phases["joining"]) == ("scheduled", "staged", "sent")
    assert plan.phase("staged", sent=True, handed=False) == "sent"
    assert plan.phase("joining", sent=True, handed=True) == "handed"
    assert phases["waiting_room"] == phases["joined_recording"] == "underway"


def test_the_runner_is_asked_again_ever_more_seldom_and_once_a_minute_at_least() -> None:
    waits = [plan.backoff(attempt).total_seconds() for attempt in range(1, 8)]
    assert waits == [2, 4, 8, 16, 32, 60, 60]
