"""Whose content was erased, and when."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from calendar_pipeline.db.schema.columns import at, metadata

erasure = Table(
    "erasure",
    metadata,
    Column("id", Text, primary_key=True, comment="ers_…; event_history.erasure_id of the rows it redacted"),
    Column("project_id", Text, nullable=False, comment="the tenant"),
    Column("kind", Text, nullable=False, comment="person or calendar"),
    Column("digest", LargeBinary, comment="of a person's address: what is told of it later is not kept"),
    Column("calendar_id", Text, comment="the calendar that was erased"),
    Column("names", LargeBinary, comment="sealed: JSON list of the person's names, not kept either when told of later"),
    at("erased_at", nullable=False, comment="when"),
    Column("rows", JSONB, nullable=False, comment="how many rows were redacted or removed, by table"),
    Column("first_seq", BigInteger, comment="of the redacted versions"),
    Column("last_seq", BigInteger, comment="of the redacted versions"),
    CheckConstraint("kind IN ('person', 'calendar')", name="kind"),
    CheckConstraint("(kind = 'person') = (digest IS NOT NULL)", name="subject"),
    Index("ix_erasure_person", "project_id", postgresql_where=text("digest IS NOT NULL")),
    comment="Each erasure of a person's or a calendar's content. The record that a version is not as it was written.",
)
