"""What changed: what a provider told, against what we hold. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from calendar_pipeline.event import Awkward, Event, Item, Tombstone
from calendar_pipeline.history.accept import Prepared, prepare
from calendar_pipeline.providers.port import Window

Kind = Literal["created", "updated", "deleted", "restored"]

DERIVED = frozenset({"raw", "provider_event_id", "provider_updated_at"})
"""Columns that are not reported by name when they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What we hold of an event; enough to see whether it changed."""

    event_id: str
    provider_event_id: str
    version: int
    fingerprint: bytes
    is_deleted: bool
    series_id: str | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A provider's items by what they mean: to keep, gone, or set aside. The last of an id counts."""

    events: Mapping[str, Prepared]
    gone: frozenset[str]
    gone_series: frozenset[str]
    awkward: Mapping[str, Awkward]

    @property
    def named(self) -> frozenset[str]:
        """Every provider event id told of, in whatever way."""
        return frozenset(self.events) | self.gone | frozenset(self.awkward)


@dataclass(frozen=True, slots=True)
class Change:
    """One event's step from what we hold to what was told."""

    kind: Kind
    held: Held | None
    told: Prepared | None

    @property
    def provider_event_id(self) -> str:
        """The provider's id of the event."""
        if self.told is not None:
            return self.told.event.provider_event_id
        assert self.held is not None
        return self.held.provider_event_id

    @property
    def version(self) -> int:
        """The event's version after this change; the first is 1."""
        return self.held.version + 1 if self.held else 1


@dataclass(frozen=True, slots=True)
class Difference:
    """The fields that differ, and their former values."""

    changed: tuple[str, ...] = ()
    before: Mapping[str, object] = field(default_factory=dict[str, object])


def sort(items: Iterable[Item]) -> Told:
    """Prepare what was told for comparison."""
    events: dict[str, Prepared] = {}
    gone: set[str] = set()
    series: set[str] = set()
    awkward: dict[str, Awkward] = {}
    for item in items:
        key = item.provider_event_id
        events.pop(key, None)
        awkward.pop(key, None)
        gone.discard(key)
        match item:
            case Tombstone():
                gone.add(key)
                if item.with_instances:
                    series.add(key)
            case Awkward():
                awkward[key] = item
            case Event():
                match prepare(item):
                    case Prepared() as prepared:
                        events[key] = prepared
                    case Awkward() as unfit:
                        awkward[key] = unfit
    return Told(events, frozenset(gone), frozenset(series), awkward)


def missing(told: Told, held: Iterable[Held], complete: Window) -> list[Held]:
    """What we hold in a completely listed window and were not told of."""
    named = told.named
    return [
        row
        for row in held
        if not row.is_deleted
        and row.provider_event_id not in named
        and row.series_id not in told.gone_series
        and complete.overlaps(row.starts_at, row.ends_at)
    ]


def diff(told: Told, held: Sequence[Held], *, horizon: Window, complete: Window | None) -> list[Change]:
    """All changes, in the order in which they are to be recorded.

    `complete` is set when `told` names every event in that window. Without it, silence means no change.
    An event that we do not hold and that lies outside `horizon` is not ours to keep.
    """
    known = {row.provider_event_id: row for row in held}
    changes: list[Change] = []
    for key, prepared in told.events.items():
        row = known.get(key)
        if row is None:
            if horizon.overlaps(prepared.event.starts_at, prepared.event.ends_at):
                changes.append(Change("created", None, prepared))
        elif row.is_deleted:
            changes.append(Change("restored", row, prepared))
        elif row.fingerprint != prepared.fingerprint:
            changes.append(Change("updated", row, prepared))
    ending = {row.provider_event_id for row in missing(told, held, complete)} if complete else set[str]()
    for row in held:
        told_gone = row.provider_event_id in told.gone or (
            row.series_id in told.gone_series
            and row.provider_event_id not in told.events
            and row.provider_event_id not in told.awkward
        )
        if not row.is_deleted and (told_gone or row.provider_event_id in ending):
            changes.append(Change("deleted", row, None))
    return changes


def difference(before: Mapping[str, object], after: Prepared) -> Difference:
    """Which fields of a stored row (`before`, column → value) a prepared event changes."""
    changed: list[str] = []
    former: dict[str, object] = {}
    for name, value in after.row.items():
        if name not in DERIVED and before[name] != value:
            changed.append(name)
            former[name] = before[name]
    old_raw, new_raw = before["raw"], after.event.raw
    assert isinstance(old_raw, Mapping)
    noise = after.event.noise
    other = {
        key: old_raw.get(key)
        for key in old_raw.keys() | new_raw.keys()
        if key not in noise and old_raw.get(key) != new_raw.get(key)
    }
    if other:
        changed.append("raw")
        former["raw"] = dict(sorted(other.items()))
    return Difference(tuple(changed), former)
