"""Decisions in words: how they are named on record, and the one line that says why. Pure."""

from typing import assert_never

from calendar_pipeline.bots import plan
from calendar_pipeline.bots.model import Followed, Gone
from calendar_pipeline.bots.plan import Decision

GONE: dict[Gone, tuple[str, str]] = {
    "deleted": ("deleted", "deleted by the client"),
    "event_deleted": ("cancelled", "event cancelled"),
    "event_declined": ("cancelled", "event declined by the calendar's owner"),
    "event_over": ("suspended", "event moved to where it is over"),
    "calendar_disconnected": ("suspended", "its calendar is disconnected"),
    "not_wanted": ("cancelled", "the rules do not want it any more"),
    "superseded": ("superseded", "another bot has its deduplication key"),
}

RECALLED = {
    "moved": "event moved away",
    "link_changed": "meeting link changed",
    "link_removed": "meeting link removed",
    "cancelled": "event cancelled",
    "declined": "event declined by the calendar's owner",
    "unwanted": "the rules do not want it any more",
    "unanswered": "it was asked for before, and it is not known whether it was given back",
}


def name(step: Decision) -> str:
    """The decision's name on record."""
    match step:
        case plan.Nothing():
            return "kept"
        case plan.Move():
            return "moved"
        case plan.ChangeLink():
            return "link changed"
        case plan.Suspend():
            return "suspended"
        case plan.Resume() | plan.Restore():
            return "restored"
        case plan.TakeAway():
            return GONE[step.because][0]
        case plan.Supersede():
            return "superseded"
        case plan.Stage():
            return "staged"
        case plan.Unstage():
            return "unstaged"
        case plan.Launch():
            return "sent"
        case plan.Recall():
            return "recalled"
        case plan.Expire():
            return "given up"
        case _:
            assert_never(step)


def reason(step: Decision, event: Followed | None, unwanted: str | None = None) -> str:
    """One line that says why. It holds nothing out of the calendar but times; `unwanted` is what the rules say."""
    if unwanted is not None and _is_rules(step):
        return f"not wanted: {unwanted}"
    return f"{_reason(step)} by version {event.version}" if event is not None and _is_events(step) else _reason(step)


def _is_rules(step: Decision) -> bool:
    match step:
        case plan.TakeAway(because="not_wanted") | plan.Recall(because="unwanted"):
            return True
        case _:
            return False


def _is_events(step: Decision) -> bool:
    match step:
        case plan.Recall(because="unanswered"):
            return False
        case plan.Move() | plan.ChangeLink() | plan.Suspend() | plan.Resume() | plan.Recall():
            return True
        case plan.TakeAway():
            return step.because in ("event_deleted", "event_declined", "event_over")
        case _:
            return False


def _reason(step: Decision) -> str:
    match step:
        case plan.Nothing():
            return "nothing to do"
        case plan.Move():
            return f"event moved to {step.starts_at:%Y-%m-%dT%H:%M:%SZ}"
        case plan.ChangeLink():
            return "meeting link changed"
        case plan.Suspend():
            return "meeting link removed"
        case plan.Resume():
            return "meeting link is back"
        case plan.TakeAway():
            return GONE[step.because][1]
        case plan.Restore():
            return "what took it away has passed"
        case plan.Supersede():
            return GONE["superseded"][1]
        case plan.Stage():
            return "its time comes near"
        case plan.Unstage():
            return "its time moved away before the runner was asked"
        case plan.Launch():
            return "its time has come"
        case plan.Recall():
            return RECALLED[step.because]
        case plan.Expire():
            return "the meeting is over and no runner took it"
        case _:
            assert_never(step)
