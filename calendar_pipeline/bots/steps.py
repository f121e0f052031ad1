"""From decisions to what is written of a bot: its row, its record, what its customer is told. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from calendar_pipeline.bots import plan, words
from calendar_pipeline.bots.model import Followed, State
from calendar_pipeline.bots.plan import Decision, Planned, Policy
from calendar_pipeline.bots.queue import PLANNED, Claimed, Instance, Note, Seen, Written
from calendar_pipeline.webhooks.model import BotChange

A_DAY = timedelta(days=1)

CARRIED = {
    "split": "its series was split: it goes on with the new one's instance",
    "repeats": "its event repeats by now: it goes on with the instance of the same start",
}

_SPLIT = re.compile(r"_R[0-9]{8}(?:T[0-9]{6})?Z?\Z", re.ASCII)
"""What Google puts after a series' id when "this and following" splits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A bot, what is to be written of it, and the decision that stands at the end."""

    bot: Claimed
    event: Followed | None
    row: Written
    last: Decision

    @property
    def attempts(self) -> int:
        """How often in a row the runner was asked, this time included."""
        return self.bot.attempts + 1


def step(bot: Claimed, seen: Seen, heir: Instance | None, is_key_taken: bool, *, policy: Policy, now: datetime) -> Step:
    """What is to be written of `bot` so that it matches its event, or the `heir` that its event has."""
    event = seen.event if heir is None else heir.event
    before = planned(bot, is_key_taken=is_key_taken or seen.is_key_taken)
    _, decisions = plan.settle(before, event, policy=policy, now=now)
    values: dict[str, Any] = {name: getattr(bot, name) for name in PLANNED}
    values["event_version"] = event.version if event is not None else bot.event_version
    notes: list[Note] = []
    shown: list[Mapping[str, object]] = []
    if heir is not None:
        values["event_id"] = heir.event.id
        notes.append(_note(event, "carried", CARRIED["repeats" if seen.is_single else "split"]))
    for decision in decisions:
        old: State = values["state"]
        _apply(values, decision, now=now)
        told = _shown(decision)
        if told is not None:
            kind, sub_type = told
            entry: dict[str, object] = {"type": kind, "created_at": now}
            shown.append(entry if sub_type is None else entry | {"sub_type": sub_type})
        if _is_recorded(decision, bot):
            line = _note(event, words.name(decision), words.reason(decision, event, bot.unwanted_because))
            kind, sub_type = told or (None, None)
            notes.append(replace(line, old_state=old, new_state=values["state"], type=kind, sub_type=sub_type))
    last = decisions[-1]
    asks = isinstance(last, plan.Launch | plan.Recall)
    return Step(
        bot=bot,
        event=event,
        last=last,
        row=Written(
            id=bot.id,
            asked=bot.asked,
            due_at=now if asks else last.look_at if isinstance(last, plan.Nothing) else None,
            keeps_lease=asks,
            changes=bool(notes),
            values=values,
            notes=notes,
            events=shown,
        ),
    )


def planned(bot: Claimed, *, is_key_taken: bool = False) -> Planned:
    """The bot as planning sees it."""
    return Planned(
        phase=plan.phase(bot.state, sent=bot.sent_at is not None, handed=bot.handed_at is not None),
        gone=bot.gone_because,
        is_suspended=bot.suspended_at is not None,
        join_at=bot.join_at or bot.created_at,
        link=bot.meeting_url,
        follows_start=bot.follows_start,
        follows_link=bot.follows_link,
        ends_at=bot.ends_at,
        launch=bot.launch,
        is_asked_back=bot.handed_at is not None and bot.attempts > 0,
        is_key_taken=is_key_taken,
        is_wanted=bot.unwanted_because is None,
    )


def _apply(values: dict[str, Any], decision: Decision, *, now: datetime) -> None:
    match decision:
        case plan.Move():
            values |= {
                "join_at": decision.join_at,
                "follows_start": decision.starts_at,
                "ends_at": decision.ends_at,
            }
        case plan.ChangeLink():
            values |= {"meeting_url": decision.link, "follows_link": decision.link}
        case plan.Suspend():
            values |= {"follows_link": None, "suspended_at": now, "suspended_because": "the event has no meeting link"}
        case plan.Resume():
            values |= {
                "meeting_url": decision.link,
                "follows_link": decision.link,
                "suspended_at": None,
                "suspended_because": None,
            }
        case plan.TakeAway():
            values |= {"gone_at": values["gone_at"] or now, "gone_because": decision.because, "state": "scheduled"}
        case plan.Supersede():
            values |= {"gone_because": "superseded"}
        case plan.Restore():
            values |= {"gone_at": None, "gone_because": None}
        case plan.Stage():
            values |= {"state": "staged", "attempts": 0}
        case plan.Unstage():
            values |= {"state": "scheduled"}
        case plan.Launch():
            values |= {"sent_at": now, "attempts": values["attempts"] + 1}
        case plan.Recall():
            values |= {"attempts": values["attempts"] + 1}
        case plan.Expire():
            values |= {"state": "fatal_error"}
        case plan.Nothing():
            values |= {"attempts": 0}  # whatever the runner was asked in vain is not wanted any more
        case _:
            assert_never(decision)


def _shown(decision: Decision) -> tuple[str, str | None] | None:
    """Type and sub-type of the event that the API shows of a decision."""
    match decision:
        case plan.Stage():
            return ("staged", None)
        case plan.Expire():
            return ("fatal_error", "bot_not_launched")
        case _:
            return None


def _is_recorded(decision: Decision, bot: Claimed) -> bool:
    """Asking the runner again is put on record when it answers."""
    match decision:
        case plan.Nothing() | plan.Recall():
            return False
        case plan.Launch():
            return bot.attempts == 0
        case _:
            return True


def _note(event: Followed | None, decision: str, reason: str) -> Note:
    return Note(
        decision=decision,
        reason=reason,
        event_id=event.id if event else None,
        event_version=event.version if event else None,
    )


def note(one: Step, decision: str, reason: str) -> Note:
    """A line on the bot's record that changes nothing of it."""
    return _note(one.event, decision, reason)


def recalled(one: Step) -> Note:
    """The line that says why the runner gave the bot back."""
    return _given_back(one, "recalled", words.reason(one.last, one.event, one.bot.unwanted_because))


def recall_given_up(one: Step, code: str) -> Note:
    """The line that says that the bot counts as given back, since its meeting is over."""
    return _given_back(one, "recall given up", f"the meeting is over, and the runner does not answer: {code}")


def _given_back(one: Step, decision: str, reason: str) -> Note:
    line = _note(one.event, decision, reason)
    return replace(line, old_state=one.row.values["state"], new_state="scheduled")  # pyright: ignore[reportArgumentType]


def handed(row: Any) -> Note:
    """The line that says that the runner has the bot."""
    is_told = row.old_state == "staged"
    return Note(
        decision="launched",
        reason="the runner has it",
        event_id=row.event_id,
        event_version=row.event_version,
        old_state=row.old_state,
        new_state=row.new_state,
        type="join_requested" if is_told else None,
    )


def changes(notes: Sequence[tuple[str, Note]], *, now: datetime) -> list[BotChange]:
    """What customers are told: each change of state that has a type."""
    return [
        BotChange(
            bot_id=bot_id,
            event_type=note.type,
            event_sub_type=note.sub_type,
            event_metadata=note.details or {},
            old_state=note.old_state,
            new_state=note.new_state,
            at=now,
        )
        for bot_id, note in notes
        if note.type is not None and note.old_state is not None and note.new_state is not None
    ]


def seeks_heir(bot: Claimed, seen: Seen) -> bool:
    """Whether the bot's event is gone, but may go on: as an instance of another series, or as one that repeats.

    Rules judge the other one anew and make its bot.
    """
    return (
        bot.made_by == "client"
        and bot.state in ("scheduled", "staged")
        and bot.gone_because in (None, "event_deleted", "event_declined", "event_over", "calendar_disconnected")
        and seen.event is not None
        and seen.event.is_deleted
        and seen.series_id is not None
        and seen.original_starts_at is not None
    )


def root(series_id: str) -> str:
    """What a series and those split off it have in common."""
    while (shorter := _SPLIT.sub("", series_id)) != series_id:
        series_id = shorter
    return series_id


def heirs(orphans: Sequence[Claimed], seen: Mapping[str, Seen], instances: Sequence[Instance]) -> dict[str, Instance]:
    """The instance that is clearly the same meeting as each orphan's event: of the same root, for the same start.

    Where a split changed the hour, the only instance of that root on that day is the same one.
    """
    found: dict[str, Instance] = {}
    for bot in orphans:
        mine = seen[bot.id]
        assert mine.series_id is not None
        assert mine.original_starts_at is not None
        origin = root(mine.series_id)
        kin = [
            other
            for other in instances
            if other.event.calendar_id == bot.calendar_id
            and (mine.is_single or other.series_id != mine.series_id)
            and root(other.series_id) == origin
        ]
        same = [other for other in kin if other.original_starts_at == mine.original_starts_at]
        day = [other for other in kin if other.original_starts_at.date() == mine.original_starts_at.date()]
        for candidates in (same,) if mine.is_single else (same, day):
            if len(candidates) == 1:
                found[bot.id] = candidates[0]
                break
    return found
