"""How channels stand, in words for an operator: what is not well, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.engine import Connection

from calendar_pipeline.channels import store
from calendar_pipeline.channels.store import Overview
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.secrets.keyring import KeyRing, Place

FEW = 2
"""So many calendars with a missed change are no alarm, however few calendars there are: providers lose messages."""
SHARE = 0.05

Kind = Literal["missing", "silent", "expiring", "failing", "missed", "unreadable"]


TEXTS: Mapping[Kind, str] = {
    "missing": "connected calendars have no channel. See that a live run works, or that the schedule channel_schedule "
    "is on and its runs succeed; either makes what is missing.",
    "silent": "channels were made, but their first message never came. See that PUBLIC_BASE_URL/external_webhooks/ "
    "reaches the API from outside, through proxies and firewalls, with a certificate that everybody trusts.",
    "expiring": "channels end within 12 hours: their renewal fails ({reasons}). It is tried again by itself, and "
    "calendars whose channel ends are polled. Without a code nobody renews: see that a live run works, or that the "
    "schedule channel_schedule is on.",
    "failing": "calendars have no channel because their provider refuses one ({reasons}). It is asked again by itself, "
    "and they are polled. If all are refused, look at the OAuth client and at PUBLIC_BASE_URL, which must be https.",
    "missed": "calendars had a change in the last day that push did not tell of; a poll found it. See that nothing in "
    "front of the API answers /external_webhooks/ in its place: a 403 or 429 loses a message for good. "
    "calendar_pipeline_notifications_total at /metrics counts what was refused.",
    "unreadable": "secrets by which channels are to be stopped cannot be opened. Add their key to "
    "CALENDAR_PIPELINE_KEYS; without it the provider goes on telling until those channels end.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is not well."""

    kind: Kind
    count: int
    text: str
    """What it is and its remedy, a sentence or two."""


def examine(connection: Connection, ring: KeyRing | None, *, now: datetime) -> list[Trouble]:
    """All that is not well with the channels of an installation that has PUBLIC_BASE_URL."""
    return judge(
        store.overview(connection, now=now),
        codes=store.codes(connection),
        unreadable=unreadable(connection, ring) if ring is not None else 0,
    )


def judge(stand: Overview, *, codes: Mapping[str, int], unreadable: int = 0) -> list[Trouble]:
    """What is not well. Pure."""
    counts: Mapping[Kind, int] = {
        "missing": stand.missing,
        "silent": stand.silent,
        "expiring": stand.expiring,
        "failing": stand.failing,
        "missed": stand.missed if stand.missed > max(FEW, SHARE * stand.live) else 0,
        "unreadable": unreadable,
    }
    reasons = ", ".join(f"{count} {code}" for code, count in codes.items()) or "there is no code"
    return [
        Trouble(kind=kind, count=count, text=f"{count} {TEXTS[kind].format(reasons=reasons)}")
        for kind, count in counts.items()
        if count
    ]


def unreadable(connection: Connection, ring: KeyRing) -> int:
    """How many of the secrets that channels keep of calendars that are gone no key opens."""
    return sum(
        not _opens(
            ring, one.value, Place(table="calendar", column=one.column, row=one.calendar_id, project=one.project)
        )
        for one in store.sealed(connection)
    )


def _opens(ring: KeyRing, value: bytes, place: Place) -> bool:
    try:
        ring.open(value, place)
    except CredentialUnreadable:
        return False
    return True
