"""The audit log's columns say that people who connect calendars are in it, too."""

from alembic import op

revision = "0015"
down_revision = "0014"

UPGRADE = """
COMMENT ON COLUMN audit_log.actor IS 'the id of a key or of an OAuth application, or cli';
COMMENT ON COLUMN audit_log.action IS 'method and path template, a command, or what came of a visit';
"""


def upgrade() -> None:
    """Change two comments."""
    op.execute(UPGRADE)
