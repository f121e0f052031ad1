"""What is to be done about a bot so that it matches its event. Pure.

`decide` names exactly one step; `settle` takes steps until none is left or one needs the runner. Whoever carries them
out writes each on record, with the event's version and `reason`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, assert_never

from calendar_pipeline.bots.model import TERMINAL, Followed, Gone, State

Phase = Literal["scheduled", "staged", "sent", "handed", "underway", "over"]
"""How far a bot is: `sent` is between asking the runner and its answer, `handed` until the runner reports more."""

Standing = Literal["free", "standing", "cancelled", "declined", "unwanted", "unconnected"]
"""How a bot's event stands; `free` has none to follow."""

FINAL: frozenset[Gone] = frozenset(("deleted", "superseded"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the installation has set."""

    lead: timedelta = timedelta(minutes=5)
    """How long before its time a bot is staged."""
    early: timedelta = timedelta()
    """How long before its time a bot is handed to the runner."""
    patience: timedelta = timedelta(minutes=30)
    """How long after its time a bot is still launched if no end of the meeting is known."""
    follow_declines: bool = False
    """Whether an event that the calendar's owner declined is as good as cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A bot as far as planning cares."""

    phase: Phase
    gone: Gone | None = None
    is_suspended: bool = False
    join_at: datetime
    """Where none was given, when the bot was made: it joins at once."""
    link: str
    follows_start: datetime | None = None
    follows_link: str | None = None
    ends_at: datetime | None = None
    launch: int = 1
    is_asked_back: bool = False
    """The runner was asked to give it back, and has not said what came of that."""
    is_key_taken: bool = False
    """Another bot has its deduplication key by now."""
    is_wanted: bool = True
    """False for a bot that rules made and do not want any more."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The bot is as it should be. It is looked at again at `look_at`, or when its event changes."""

    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The event starts or ends at another time, and `join_at` follows its start."""

    join_at: datetime
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ChangeLink:
    """`meeting_url` follows the event's link."""

    link: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """The event has no link: the bot waits for one."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The event has a link again."""

    link: str


@dataclass(frozen=True, slots=True)
class TakeAway:
    """API clients do not see the bot any more, and it is not launched, until the reason passes."""

    because: Gone


@dataclass(frozen=True, slots=True)
class Restore:
    """The reason has passed: the bot is there again, under its id."""


@dataclass(frozen=True, slots=True)
class Supersede:
    """The reason has passed, but another bot has the deduplication key: it stays away for good."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Its time comes near: API clients cannot change the bot any more."""


@dataclass(frozen=True, slots=True)
class Unstage:
    """Its time has moved away before the runner was asked: it is scheduled again."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Hand the bot to the runner. Asking again is safe."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Take the bot back from the runner; `because` of what. Then it is planned anew."""

    because: Literal["moved", "link_changed", "link_removed", "cancelled", "declined", "unwanted", "unanswered"]
    until: datetime
    """The end of the meeting it was sent to. If the runner does not answer by then, the bot counts as given back."""


@dataclass(frozen=True, slots=True)
class Expire:
    """The meeting is over and the bot never got there."""


Decision = (
    Nothing
    | Move
    | ChangeLink
    | Suspend
    | Resume
    | TakeAway
    | Restore
    | Supersede
    | Stage
    | Unstage
    | Launch
    | Recall
    | Expire
)

LAST = (Nothing, Launch, Recall, Expire, Supersede)
"""Decisions after which there is nothing more to decide for now."""


def phase(state: State, *, sent: bool, handed: bool) -> Phase:
    """How far a bot in `state` is."""
    if state in TERMINAL:
        return "over"
    match state:
        case "scheduled":
            return "scheduled"
        case "staged":
            return "sent" if sent else "staged"
        case "joining":
            return "handed" if handed else "sent"
        case _:
            return "underway"


def standing(bot: Planned, event: Followed | None, *, policy: Policy) -> Standing:
    """How the bot's event stands."""
    if event is None:
        return "free"
    if event.is_deleted:
        return "cancelled"
    if not event.is_connected:
        return "unconnected"
    if policy.follow_declines and event.own_response == "declined":
        return "declined"
    return "standing" if bot.is_wanted else "unwanted"


def until(bot: Planned, *, policy: Policy) -> datetime:
    """When it is too late to launch the bot: the meeting's end."""
    return end_of(bot.join_at, bot.ends_at, policy=policy)


def end_of(starts_at: datetime, ends_at: datetime | None, *, policy: Policy) -> datetime:
    """When a meeting is over, as far as it is known."""
    return ends_at if ends_at is not None and ends_at > starts_at else starts_at + policy.patience


def decide(bot: Planned, event: Followed | None, *, policy: Policy, now: datetime) -> Decision:
    """The one step to take next."""
    stands = standing(bot, event, policy=policy)
    if bot.gone is not None:
        return _gone(bot, bot.gone, stands, event, policy=policy, now=now)
    match bot.phase:
        case "over" | "underway":
            return Nothing()
        case "handed":
            recall = _recall(bot, stands, event, policy=policy, now=now)
            if recall is None and bot.is_asked_back:
                # The reason has passed, but the runner may have given it back by now: only then can it be sent again.
                return Recall("unanswered", until(bot, policy=policy))
            return recall or Nothing()
        case "sent":
            # Whether the runner has it is not known. Before anything else it is taken back, or asked for again.
            if (recall := _recall(bot, stands, event, policy=policy, now=now)) is not None:
                return recall
            return Expire() if now >= until(bot, policy=policy) else Launch()
        case "scheduled" | "staged" as early:
            return _follow(bot, early, stands, event, policy=policy, now=now)
        case _:
            assert_never(bot.phase)


def _gone(
    bot: Planned, gone: Gone, stands: Standing, event: Followed | None, *, policy: Policy, now: datetime
) -> Decision:
    """A bot that was taken away: whether the reason is still there, or another one."""
    if gone in FINAL:
        return Nothing()
    match stands:
        case "free":
            return Nothing()
        case "cancelled":
            return _away(gone, "event_deleted")
        case "declined":
            return _away(gone, "event_declined")
        case "unwanted":
            return _away(gone, "not_wanted")
        case "unconnected":
            return _away(gone, "calendar_disconnected")
        case "standing":
            assert event is not None
            if now >= end_of(event.starts_at, event.ends_at, policy=policy):
                return Nothing()
            return Supersede() if bot.is_key_taken else Restore()
        case _:
            assert_never(stands)


def _away(gone: Gone, because: Gone) -> Decision:
    return Nothing() if gone == because else TakeAway(because)


def _follow(
    bot: Planned,
    phase: Literal["scheduled", "staged"],
    stands: Standing,
    event: Followed | None,
    *,
    policy: Policy,
    now: datetime,
) -> Decision:
    """A bot that no runner knows of."""
    match stands:
        case "cancelled":
            return TakeAway("event_deleted")
        case "declined":
            return TakeAway("event_declined")
        case "unwanted":
            return TakeAway("not_wanted")
        case "unconnected":
            if phase == "scheduled":
                return TakeAway("calendar_disconnected")
            return _by_time(bot, phase, policy=policy, now=now)  # on its way: what we last knew of the event holds
        case "free":
            return _by_time(bot, phase, policy=policy, now=now)
        case "standing":
            assert event is not None
            if _is_moved_away(bot, event, policy=policy, now=now):
                return TakeAway("event_over")
            return _by_event(bot, event) or _by_time(bot, phase, policy=policy, now=now)
        case _:
            assert_never(stands)


def _is_moved_away(bot: Planned, event: Followed, *, policy: Policy, now: datetime) -> bool:
    """Whether the event went to where it is over before the bot's time was: perhaps by mistake, so it may come back."""
    is_over = now >= end_of(event.starts_at, event.ends_at, policy=policy)
    return event.starts_at != bot.follows_start and is_over and now < until(bot, policy=policy)


def _by_event(bot: Planned, event: Followed) -> Decision | None:
    """What the event says that the bot does not know yet. A client's own time or link stays until it says something."""
    if event.starts_at != bot.follows_start:
        return Move(event.starts_at, event.starts_at, event.ends_at)
    if event.ends_at != bot.ends_at:
        return Move(bot.join_at, event.starts_at, event.ends_at)
    if event.link == bot.follows_link:
        return None
    if event.link is None:
        return Suspend()
    return Resume(event.link) if bot.is_suspended else ChangeLink(event.link)


def _by_time(bot: Planned, phase: Literal["scheduled", "staged"], *, policy: Policy, now: datetime) -> Decision:
    """What the clock says."""
    end = until(bot, policy=policy)
    if now >= end:
        return Expire()
    if now < bot.join_at - policy.lead:
        return Unstage() if phase == "staged" else Nothing(bot.join_at - policy.lead)
    if bot.is_suspended:
        return Nothing(end)
    if phase == "scheduled":
        return Stage()
    return Nothing(bot.join_at - policy.early) if now < bot.join_at - policy.early else Launch()


def _recall(bot: Planned, stands: Standing, event: Followed | None, *, policy: Policy, now: datetime) -> Recall | None:
    """Why the runner should give a bot back; None if it should not. It is replaced once at most."""
    end = until(bot, policy=policy)
    match stands:
        case "free" | "unconnected":
            return None
        case "cancelled" | "declined" | "unwanted":
            return Recall(stands, end)
        case "standing":
            assert event is not None
            if bot.launch > 1:
                return None
            if event.starts_at != bot.follows_start and event.starts_at > now + policy.lead:
                return Recall("moved", end)
            if event.link == bot.follows_link:
                return None
            if event.link is not None:
                return Recall("link_changed", end)
            return Recall("link_removed", end) if bot.phase == "sent" else None
        case _:
            assert_never(stands)


def settle(
    bot: Planned, event: Followed | None, *, policy: Policy, now: datetime
) -> tuple[Planned, Sequence[Decision]]:
    """All steps to take now, the last of which is one of `LAST`, and the bot as it is after those before it."""
    steps: list[Decision] = []
    while True:
        step = decide(bot, event, policy=policy, now=now)
        steps.append(step)
        if isinstance(step, LAST):
            return bot, steps
        bot = taken(bot, step)


def taken(bot: Planned, step: Decision) -> Planned:
    """The bot after a step."""
    match step:
        case Move():
            return replace(bot, join_at=step.join_at, follows_start=step.starts_at, ends_at=step.ends_at)
        case ChangeLink():
            return replace(bot, link=step.link, follows_link=step.link)
        case Suspend():
            return replace(bot, is_suspended=True, follows_link=None)
        case Resume():
            return replace(bot, is_suspended=False, link=step.link, follows_link=step.link)
        case TakeAway():
            return replace(bot, gone=step.because, phase="scheduled")
        case Restore():
            return replace(bot, gone=None)
        case Supersede():
            return replace(bot, gone="superseded")
        case Stage():
            return replace(bot, phase="staged")
        case Unstage():
            return replace(bot, phase="scheduled")
        case Launch():
            return replace(bot, phase="sent")
        case Recall():
            return replace(bot, phase="scheduled", launch=bot.launch + 1)
        case Expire():
            return replace(bot, phase="over")
        case Nothing():
            return bot
        case _:
            assert_never(step)


def backoff(attempts: int) -> timedelta:
    """How long to leave a runner alone that could not take a bot, after the `attempts`-th time: doubling, to a minute.

    A meeting is short, and so is the patience of the people in it.
    """
    return min(timedelta(seconds=2) * 2 ** min(attempts - 1, 5), timedelta(minutes=1))
