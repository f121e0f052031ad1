"""What delivering webhooks needs beside the outbox: lost claims, and indexes for those who watch."""

from alembic import op

revision = "0009"
down_revision = "0008"

UPGRADE = """
ALTER TABLE webhook_delivery ADD COLUMN lost int NOT NULL DEFAULT 0;
COMMENT ON COLUMN webhook_delivery.lost IS 'claims in a row nobody heard of again';
COMMENT ON COLUMN webhook_delivery.attempts IS 'made, and heard of';
CREATE INDEX ix_webhook_delivery_pending ON webhook_delivery (created_at) WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_lost ON webhook_delivery (finished_at) WHERE status IN ('dead', 'rejected');
CREATE INDEX ix_webhook_attempt_started ON webhook_attempt USING brin (started_at);
"""


def upgrade() -> None:
    """Add a column and indexes."""
    op.execute(UPGRADE)
