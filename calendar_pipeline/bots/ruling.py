"""Rules → bots: judge the events that changed, make the bots that are wanted, and mark those that are not.

What becomes of a marked bot is planned like everything else about bots. Here no bot of a client is touched.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from calendar_pipeline import ids
from calendar_pipeline.bots import meetings, rule_store, store
from calendar_pipeline.bots.meetings import Candidate, RuledBot
from calendar_pipeline.bots.model import TERMINAL
from calendar_pipeline.bots.rule_store import Held, Identity, Made, Review
from calendar_pipeline.bots.rules import Rules, Wanted
from calendar_pipeline.db.connect import Database, json_text
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.secrets.keyring import KeyRing

BATCH = 500
"""Events judged in one transaction, beside others of the same meetings."""


def judge(
    db: Database, keyring: KeyRing, project_id: str, *, now: datetime, crash: Callable[[str], None], batch: int = BATCH
) -> int:
    """Apply a project's rules to what changed, or to what is to be judged again; returns to how many changes or events.

    Zero means that somebody else is doing it, or that there is nothing to do.
    """
    try:
        with db.begin() as connection:
            held = rule_store.claim(connection, keyring, project_id)
            if held is None:
                return 0
            count = _changed(connection, keyring, project_id, held, now=now, batch=batch)
            if not count:
                count = _again(connection, keyring, project_id, held, now=now, batch=batch)
            crash("judged")
    except CredentialUnreadable:
        return 0  # the operator must restore the key; bots that are there go on
    except IntegrityError:
        return 1  # a calendar was deleted meanwhile: its events are not there next time
    return count


def _changed(
    connection: Connection, keyring: KeyRing, project_id: str, held: Held, *, now: datetime, batch: int
) -> int:
    if held.rules is None:
        return 0
    news = rule_store.news(connection, project_id, after=held.seq, limit=batch)
    if news.count:
        _apply(connection, keyring, project_id, held.rules, news.events, news.former, now=now)
        rule_store.judged(connection, project_id, seq=news.seq)
    return news.count


def _again(connection: Connection, keyring: KeyRing, project_id: str, held: Held, *, now: datetime, batch: int) -> int:
    one = rule_store.review(connection, project_id)
    if one is None:
        return 0
    if one.event_id is not None:
        events, after = [one.event_id], None
    else:
        found = rule_store.upcoming(connection, project_id, one, since=now, limit=batch)
        events, after = [event for event, _ in found], found[-1] if len(found) == batch else None
    _apply(connection, keyring, project_id, held.rules, events, (), now=now)
    rule_store.judged(connection, project_id, seq=held.seq, review_id=one.id, after=after)
    return max(1, len(events))


def _apply(
    connection: Connection,
    keyring: KeyRing,
    project_id: str,
    rules: Rules | None,
    events: Sequence[str],
    former: Sequence[Identity],
    *,
    now: datetime,
) -> None:
    """Make and mark the bots of these events' meetings. Making comes first: it waits for calendars being deleted."""
    made: list[Made] = []
    marks: dict[str, str | None] = {}
    for meeting, bots in _meetings(connection, project_id, events, former):
        choice = meetings.choose(rules, meeting, bots, now=now)
        marks |= choice.marks
        if choice.makes and choice.winner is not None and rules is not None:
            made.append(_made(keyring, project_id, rules, choice.winner, choice.verdicts[choice.winner.id].reason))
    if made:
        rule_store.make(connection, made, now=now)
    if marks:
        rule_store.mark(connection, marks, now=now)


def _meetings(
    connection: Connection, project_id: str, events: Sequence[str], former: Sequence[Identity] = ()
) -> Generator[tuple[list[Candidate], list[RuledBot]]]:
    """The meetings that these events are or were, each with the bots that rules made for it."""
    candidates = rule_store.kin(connection, project_id, events, former) if events else []
    by_event: dict[str, list[RuledBot]] = {}
    for bot in rule_store.bots(connection, [event.id for event in candidates]) if candidates else ():
        by_event.setdefault(bot.event_id, []).append(bot)
    for meeting in meetings.group(candidates):
        yield meeting, [bot for event in meeting for bot in by_event.get(event.id, ())]


def _made(keyring: KeyRing, project_id: str, rules: Rules, event: Candidate, why: str) -> Made:
    bot_id, settings = ids.new("bot"), rules.bot.settings
    return Made(
        id=bot_id,
        event=event,
        name=rules.bot.name,
        metadata=rules.bot.metadata,
        settings=keyring.seal(json_text(settings), store.settings_place(bot_id, project_id)) if settings else None,
        reason=f"wanted: {why}",
    )


Change = Literal["added", "dropped", "kept", "none", "would have been"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What rules would do about a meeting."""

    event: Candidate
    """Whose bot it is or would be; without one, the meeting's first event."""
    change: Change
    """`would have been` of a meeting that is over, the others of one that is to come."""
    reason: str


def forecast(
    connection: Connection, project_id: str, rules: Rules, *, since: datetime, now: datetime, batch: int = BATCH
) -> Generator[Forecast]:
    """What rules would have done since then and would do from now on, meeting by meeting. Nothing is written."""
    place = Review(id=0, calendar_id=None, event_id=None, after_end=None, after_id="")
    seen: set[str] = set()
    while True:
        found = rule_store.upcoming(connection, project_id, place, since=since, limit=batch)
        if not found:
            return
        events = [event for event, _ in found if event not in seen]
        for meeting, bots in _meetings(connection, project_id, events):
            if seen.isdisjoint(event.id for event in meeting):
                yield _forecast(rules, meeting, bots, now=now)
            seen.update(event.id for event in meeting)
        place = Review(id=0, calendar_id=None, event_id=None, after_end=found[-1][1], after_id=found[-1][0])


def _forecast(rules: Rules, meeting: Sequence[Candidate], bots: Sequence[RuledBot], *, now: datetime) -> Forecast:
    is_over = all(event.ends_at <= now for event in meeting)
    at = min(event.start_time for event in meeting) if is_over else now
    choice = meetings.choose(rules, meeting, () if is_over else bots, now=at)
    event = choice.winner or meeting[0]
    verdict = choice.verdicts[event.id]
    is_there = any(bot.gone_at is None and bot.unwanted_because is None and bot.state not in TERMINAL for bot in bots)
    will_be = choice.winner is not None and isinstance(verdict, Wanted) and event.subject.link is not None
    if event.is_deleted:
        reason = "it is cancelled"
    elif not event.is_connected:
        reason = "its calendar is disconnected"
    elif isinstance(verdict, Wanted) and event.subject.link is None:
        reason = "it has no meeting link"
    else:
        reason = verdict.reason
    if is_over:
        return Forecast(event=event, change="would have been" if will_be else "none", reason=reason)
    change: Change = ("kept" if is_there else "added") if will_be else ("dropped" if is_there else "none")
    return Forecast(event=event, change=change, reason=reason)
