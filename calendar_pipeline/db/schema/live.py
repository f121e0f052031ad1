"""Which runs of the live path there are."""

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text, Uuid

from calendar_pipeline.db.schema.columns import at, created, metadata

live_run = Table(
    "live_run",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("run_id", Text, comment="the Dagster run; null: one outside Dagster"),
    Column("state", Text, nullable=False, comment="waiting, working, ending"),
    created(),
    Column("beat_until", DateTime(timezone=True), nullable=False, comment="dead if this has passed"),
    at("retires_at"),
    CheckConstraint("state IN ('waiting', 'working', 'ending')", name="state"),
    comment="A run of the live path, from its start to its end or a little after its death.",
)
