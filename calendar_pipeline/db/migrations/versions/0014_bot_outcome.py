"""An index that finds what was decided about bots by the event that caused it."""

from alembic import op

revision = "0014"
down_revision = "0013"

UPGRADE = """
CREATE INDEX ix_bot_event_event ON bot_event (event_id, event_version) WHERE event_id IS NOT NULL;
"""


def upgrade() -> None:
    """Add an index."""
    op.execute(UPGRADE)
