"""The changes of a sync as a webhook tells them, for endpoints that ask for more than a reference. Bounded in size."""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.schema import event_history
from calendar_pipeline.history.store import Appended

FIELDS = (
    "title",
    "start_time",
    "end_time",
    "starts_at",
    "ends_at",
    "start_date",
    "end_date",
    "time_zone",
    "status",
    "meeting_url",
    "meeting_platform",
    "organizer_email",
    "own_response",
    "attendees",
    "series_id",
    "location",
    "is_deleted",
)
"""What is told of an event; the provider's JSON is not."""

MOST = 100
LARGEST = 200 * 1024
"""Bytes of all changes together; who wants more reads the API."""

_h = event_history.c

_RECORDED = (
    sa.select(_h.seq, _h.event_id, _h.version, _h.change, _h.changed, _h.before, *(_h[name] for name in FIELDS))
    .where(
        _h.project_id == sa.bindparam("project"),
        _h.seq.between(sa.bindparam("first"), sa.bindparam("last")),
        _h.recorded_at == sa.bindparam("at", type_=sa.DateTime(timezone=True)),
    )
    .order_by(_h.seq)
)
"""By the primary key, of one partition: it is read in the project's turn, where everybody waits for it."""


def of(connection: Connection, project: str, recorded: Appended) -> Mapping[str, object]:
    """``changes`` and ``changes_truncated`` for the body. One statement."""
    first, count = recorded.seqs.start, len(recorded.seqs)
    parameters = {"project": project, "first": first, "last": first + min(count, MOST + 1) - 1, "at": recorded.at}
    rows = [dict(row) for row in connection.execute(_RECORDED, parameters).mappings()]
    return bounded([change(row) for row in rows])


def change(row: Mapping[str, object]) -> Mapping[str, object]:
    """One version of an event: which it is, and from what to what it changed. A new one comes from nothing."""
    before, changed = row["before"], row["changed"]
    assert isinstance(before, Mapping)
    assert isinstance(changed, Sequence)
    names = FIELDS if row["change"] == "created" else [name for name in FIELDS if name in changed]
    return {
        "sequence": row["seq"],
        "event_id": row["event_id"],
        "version": row["version"],
        "change": row["change"],
        "fields": {name: {"from": before.get(name), "to": msgspec.to_builtins(row[name])} for name in names},
    }


def bounded(changes: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """As many of `changes`, in order, as may go into one body."""
    kept: list[Mapping[str, object]] = []
    size = 0
    for one in changes[:MOST]:
        size += len(msgspec.json.encode(one))
        if size > LARGEST:
            break
        kept.append(one)
    return {"changes": kept, "changes_truncated": len(kept) < len(changes)}
