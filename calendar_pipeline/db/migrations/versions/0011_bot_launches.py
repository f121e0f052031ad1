"""What came in for a bot is counted, so that a plan made before is not carried out."""

from alembic import op

revision = "0011"
down_revision = "0010"

UPGRADE = """
ALTER TABLE bot
    ADD COLUMN asked bigint NOT NULL DEFAULT 0,
    ADD COLUMN reported_at timestamptz;
COMMENT ON COLUMN bot.reported_at IS 'when what the runner last told happened';
COMMENT ON COLUMN bot.asked IS 'counts what came in; a plan made before counts no more';
ALTER TABLE bot_position DROP COLUMN lease_token, DROP COLUMN lease_until;
"""


def upgrade() -> None:
    """Add columns and take away two that nothing used."""
    op.execute(UPGRADE)
