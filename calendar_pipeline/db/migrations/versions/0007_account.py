"""Whose grant a calendar is read with: calendars of one account share its limits."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
ALTER TABLE calendar ADD COLUMN account text;
COMMENT ON COLUMN calendar.account IS
    'whose grant it is, as the provider names the account; set by the first grant';
CREATE INDEX ix_calendar_account ON calendar (account) WHERE account IS NOT NULL;
"""


def upgrade() -> None:
    """Add a column; it fills as tokens are granted."""
    op.execute(UPGRADE)
