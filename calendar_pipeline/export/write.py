"""Database → Parquet: a file for each project and month, written again only when its rows are not what they were.

What a file holds is said in its own footer, so there is no state to lose, and running twice writes nothing twice. A
file is written beside its place and moved there whole. A month that has no rows any more loses its file.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.export import store
from calendar_pipeline.export.relation import Relation, path
from calendar_pipeline.export.store import Column, Month

if TYPE_CHECKING:
    import pyarrow as pa

MARK = b"calendar_pipeline.mark"


@dataclass(slots=True)
class Exported:
    """What an export did."""

    table: str
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    files: list[str] = field(default_factory=list[str])
    """Those written, below the root."""


def export(
    db: Database, relation: Relation, root: str, *, project: str | None = None, since: datetime | None = None
) -> Exported:
    """Bring the files of `relation` below `root` (a folder or an fsspec URL) to what the database holds.

    Each file is read from one snapshot. With `since`, months before its month are left as they are.
    """
    import fsspec

    began = time.monotonic()
    try:
        files, base = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise SetupError(f"Nothing can be written there: {error}. Name a folder or an object store.") from None
    done = Exported(relation.name)
    with db.single() as connection:
        columns = store.columns(connection, relation)
        months = store.months(connection, relation, project=project, since=since)
    schema = _schema(columns)
    for month in months:
        target = path(base, relation, month.project_id, month.month)
        mark = f"{month.mark}/{schema.fingerprint}"
        if _mark(files, target) == mark.encode():
            done.unchanged += 1
            continue
        size = _write(db, relation, month, columns, schema.arrow.with_metadata({MARK: mark.encode()}), files, target)
        done.written += 1
        done.rows += month.rows
        done.bytes += size
        done.files.append(target.removeprefix(base).lstrip("/"))
    done.removed = _remove_gone(files, base, relation, months, project=project, since=since)
    done.seconds = time.monotonic() - began
    return done


def _write(
    db: Database, relation: Relation, month: Month, columns: list[Column], schema: Any, files: Any, target: str
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = target.rsplit("/", 1)[0]
    files.makedirs(folder, exist_ok=True)
    draft = f"{folder}/_{uuid.uuid4().hex}.part"  # readers of a folder leave out names that begin so
    try:
        with (
            db.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
            files.open(draft, "wb") as sink,
            pq.ParquetWriter(sink, schema, compression="zstd") as writer,
        ):
            for batch in store.rows(connection, relation, month, columns):
                arrays = [
                    pa.array([row[position] for row in batch], type=schema.field(position).type)
                    for position in range(len(columns))
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        size = int(files.size(draft))
        files.mv(draft, target)
    except BaseException:
        if files.exists(draft):
            files.rm(draft)
        raise
    return size


def _mark(files: Any, target: str) -> bytes | None:
    """What the file at `target` says it holds; None if there is none, or none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not files.exists(target):
        return None
    try:
        with files.open(target, "rb") as source:
            metadata: Mapping[bytes, bytes] = pq.read_schema(source).metadata or {}
    except pa.ArrowInvalid:
        return None
    return metadata.get(MARK)


def _remove_gone(
    files: Any, base: str, relation: Relation, months: list[Month], *, project: str | None, since: datetime | None
) -> int:
    """Remove files of months that have no rows any more."""
    wanted = {path(base, relation, month.project_id, month.month) for month in months}
    first = since.strftime("%Y-%m") if since else ""
    removed = 0
    for found in files.glob(path(base, relation, project or "*", "*")):
        month = found.rsplit("month=", 1)[1].split("/", 1)[0]
        if found not in wanted and f"/{found.lstrip('/')}" not in wanted and month >= first:
            files.rm(found)
            removed += 1
    return removed


@dataclass(frozen=True, slots=True)
class _Schema:
    arrow: "pa.Schema"
    fingerprint: str


def _schema(columns: list[Column]) -> _Schema:
    """Arrow's types for PostgreSQL's, with the columns' comments as metadata."""
    import hashlib

    import pyarrow as pa

    types: Mapping[str, pa.DataType] = {
        "text": pa.string(),
        "json": pa.string(),
        "jsonb": pa.string(),
        "bigint": pa.int64(),
        "integer": pa.int32(),
        "smallint": pa.int16(),
        "boolean": pa.bool_(),
        "double precision": pa.float64(),
        "numeric": pa.float64(),
        "interval": pa.float64(),
        "date": pa.date32(),
        "timestamp with time zone": pa.timestamp("us", tz="UTC"),
        "bytea": pa.binary(),
        "text[]": pa.list_(pa.string()),
    }
    arrow = pa.schema(
        [
            pa.field(column.name, types[column.type], metadata={b"comment": (column.comment or "").encode()})
            for column in columns
        ]
    )
    told = ",".join(f"{column.name}:{column.type}" for column in columns)
    return _Schema(arrow, hashlib.sha256(told.encode()).hexdigest()[:12])
