"""Which code the analysts' views were made by."""

from sqlalchemy import Column, Table, Text

from calendar_pipeline.db.schema.columns import metadata

analyst_view = Table(
    "analyst_view",
    metadata,
    Column("name", Text, primary_key=True, comment="of the view or function"),
    Column("digest", Text, nullable=False, comment="of the statement that made it"),
    comment="Which definition each analysts' view has; an upgrade makes those anew that differ.",
)
