"""One bot per meeting: which of a project's events are the same meeting, and whose bot joins it. Pure.

Events are the same meeting if they have the same iCalUID and original start, or the same meeting link and the very same
start. Nothing is guessed from titles or people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from calendar_pipeline.bots.model import TERMINAL, Gone, State
from calendar_pipeline.bots.rules import Rules, Subject, Unwanted, Verdict, Wanted, wants

ANOTHER = "another event of the same meeting has the bot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An event of a project that has rules."""

    id: str
    version: int
    subject: Subject
    start_time: datetime
    """As the API shows it: the bot's `join_at`."""
    ends_at: datetime
    ical_uid: str | None
    original_starts_at: datetime | None
    meeting_key: str | None
    is_deleted: bool
    is_connected: bool
    override: bool | None = None
    override_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledBot:
    """A bot that rules made."""

    id: str
    event_id: str
    state: State
    gone_at: datetime | None
    gone_because: Gone | None
    follows_start: datetime | None
    ends_at: datetime | None
    unwanted_because: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to become of a meeting's bots, and why."""

    verdicts: dict[str, Verdict]
    """By event id."""
    winner: Candidate | None
    """Whose bot joins."""
    makes: bool
    """Whether the winner needs a new bot."""
    marks: dict[str, str | None]
    """Bots whose standing changes: why they are not wanted, or None for one that is wanted again."""


def group(events: Sequence[Candidate]) -> list[list[Candidate]]:
    """Events by meeting, in the order in which they are given."""
    parent = {event.id: event.id for event in events}

    def top(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[tuple[object, ...], str] = {}
    for event in events:
        for key in _identities(event):
            parent[top(event.id)] = top(first.setdefault(key, event.id))
    groups: dict[str, list[Candidate]] = {}
    for event in events:
        groups.setdefault(top(event.id), []).append(event)
    return list(groups.values())


def _identities(event: Candidate) -> list[tuple[object, ...]]:
    keys: list[tuple[object, ...]] = []
    if event.ical_uid is not None:
        keys.append(("uid", event.ical_uid, event.original_starts_at))
    if event.meeting_key is not None:
        keys.append(("link", event.meeting_key, event.subject.starts_at))
    return keys


def choose(rules: Rules | None, meeting: Sequence[Candidate], bots: Sequence[RuledBot], *, now: datetime) -> Choice:
    """Whose bot joins the meeting: the one that is there, else the organiser's, else the smallest calendar id's."""
    verdicts = {event.id: _verdict(rules, event, bots) for event in meeting}
    standing = [event for event in meeting if not event.is_deleted and event.is_connected and event.ends_at > now]
    wanted = [event for event in standing if isinstance(verdicts[event.id], Wanted)]
    reachable = [event for event in wanted if event.subject.link is not None] or wanted
    open_bots = [bot for bot in bots if bot.state not in TERMINAL and bot.gone_because not in ("deleted", "superseded")]
    winner, kept = _winner(reachable, open_bots)
    busy = [bot for bot in open_bots if _is_beyond_recall(bot, meeting) and _lasts_into(bot, winner)]
    is_done = winner is not None and any(
        bot.state in TERMINAL and bot.follows_start == winner.start_time for bot in bots
    )
    if is_done:
        kept = None  # a bot was there already, and none goes again
    marks: dict[str, str | None] = {}
    over = {event.id for event in meeting if event.ends_at <= now}
    for bot in open_bots:
        if bot.event_id in over or bot in busy or _rank(bot) == 0:
            continue
        verdict = verdicts[bot.event_id]
        if isinstance(verdict, Unwanted):
            why: str | None = verdict.reason
        elif busy or (winner is not None and bot is not kept):
            why = ANOTHER
        elif bot is kept:
            why = None
        else:
            continue  # its event is cancelled or cut off, and nobody else's bot goes: it may come back
        if why != bot.unwanted_because:
            marks[bot.id] = why
    makes = winner is not None and winner.subject.link is not None and kept is None and not busy and not is_done
    return Choice(verdicts=verdicts, winner=winner, makes=makes, marks=marks)


def _is_beyond_recall(bot: RuledBot, meeting: Sequence[Candidate]) -> bool:
    """Whether the bot goes whatever is said of its event: it is in the meeting, or on its way and cut off."""
    if _rank(bot) == 0:
        return True
    event = next(event for event in meeting if event.id == bot.event_id)
    return _rank(bot) in (1, 2) and not event.is_connected and not event.is_deleted


def _lasts_into(bot: RuledBot, winner: Candidate | None) -> bool:
    """Whether the bot is at this very meeting, and not at what the meeting was before it moved."""
    return winner is None or bot.ends_at is None or winner.start_time < bot.ends_at


def _verdict(rules: Rules | None, event: Candidate, bots: Sequence[RuledBot]) -> Verdict:
    verdict = wants(rules, event.subject, event.override)
    if isinstance(verdict, Wanted):
        deleted = [
            bot.gone_at for bot in bots if bot.event_id == event.id and bot.gone_because == "deleted" and bot.gone_at
        ]
        is_said_since = event.override is True and event.override_at is not None
        if deleted and not (is_said_since and event.override_at and event.override_at > max(deleted)):
            return Unwanted("its bot was deleted by a client")
    return verdict


def _winner(events: Sequence[Candidate], bots: Sequence[RuledBot]) -> tuple[Candidate | None, RuledBot | None]:
    """Whose bot goes, and that bot if it was made already."""
    if not events:
        return None, None
    by_id = {event.id: event for event in events}
    there = [bot for bot in bots if bot.event_id in by_id and bot.unwanted_because is None]
    if there:
        kept = min(there, key=lambda bot: (_rank(bot), bot.created_at, bot.id))
        return by_id[kept.event_id], kept
    winner = min(events, key=lambda one: (one.subject.own_response != "organizer", one.subject.calendar_id, one.id))
    again = [bot for bot in bots if bot.event_id == winner.id]
    return winner, min(again, key=lambda bot: (bot.created_at, bot.id), default=None)


def _rank(bot: RuledBot) -> int:
    """How far a bot is: in the meeting, on its way, waiting, taken away."""
    if bot.gone_at is not None:
        return 4
    match bot.state:
        case "joining":
            return 1
        case "staged":
            return 2
        case "scheduled":
            return 3
        case _:
            return 0
