"""Replication lag: for a while readers see a calendar as it was, though everyone was notified of the change. Pure."""

import copy
from datetime import datetime, timedelta

import msgspec

from sandbox.microsoft.switches import Switches
from sandbox.model import Calendar, Stale


def remember(calendar: Calendar, switches: Switches, now: datetime) -> None:
    """Keep the calendar as it is just before a change; the first of several changes starts the lag."""
    if switches.replication_lag_s <= 0 or (calendar.before is not None and now < calendar.before.until):
        return
    until = now + timedelta(seconds=switches.replication_lag_s)
    calendar.before = Stale(copy.deepcopy(calendar.events), calendar.seq, until)


def seen(calendar: Calendar, now: datetime) -> Calendar:
    """The calendar as a reader sees it."""
    if calendar.before is None or now >= calendar.before.until:
        return calendar
    return msgspec.structs.replace(calendar, events=calendar.before.events, seq=calendar.before.seq)
