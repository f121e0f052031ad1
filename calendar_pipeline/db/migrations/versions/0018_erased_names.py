"""Names that were erased from texts, sealed, so that they do not come back with what providers tell."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add a column; names that were given to earlier erasures are known to nobody."""
    op.execute("ALTER TABLE erasure ADD COLUMN names bytea")
