"""Webhooks: subscriptions, the outbox, attempts."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
ALTER TABLE project_counter ADD COLUMN webhooks int NOT NULL DEFAULT 0;
COMMENT ON COLUMN project_counter.webhooks IS 'the project''s own subscriptions';

CREATE TABLE webhook_subscription (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    bot_id TEXT,
    url TEXT NOT NULL,
    triggers TEXT[] NOT NULL,
    content TEXT DEFAULT 'reference' NOT NULL,
    ordering TEXT DEFAULT 'none' NOT NULL,
    concurrency INTEGER DEFAULT 4 NOT NULL,
    secret BYTEA,
    former_secret BYTEA,
    former_secret_until TIMESTAMP WITH TIME ZONE,
    failures INTEGER DEFAULT 0 NOT NULL,
    failing_since TIMESTAMP WITH TIME ZONE,
    silences INTEGER DEFAULT 0 NOT NULL,
    blocked_until TIMESTAMP WITH TIME ZONE,
    disabled_at TIMESTAMP WITH TIME ZONE,
    disabled_reason TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webhook_subscription PRIMARY KEY (id),
    CONSTRAINT ck_webhook_subscription_content CHECK (content IN ('reference', 'changes')),
    CONSTRAINT ck_webhook_subscription_ordering CHECK (ordering IN ('none', 'calendar')),
    CONSTRAINT ck_webhook_subscription_disabled CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT fk_webhook_subscription_project_id FOREIGN KEY(project_id) REFERENCES project (id) ON DELETE CASCADE
);
CREATE INDEX ix_webhook_subscription_page ON webhook_subscription (project_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX uq_webhook_subscription_bot_url ON webhook_subscription (bot_id, url) WHERE bot_id IS NOT NULL;
COMMENT ON TABLE webhook_subscription IS 'An endpoint that is told of events, how it is told, and how it fares.';
COMMENT ON COLUMN webhook_subscription.bot_id IS 'null: the project''s; a bot that has any of its own uses only those';
COMMENT ON COLUMN webhook_subscription.content IS 'reference, or with changes';
COMMENT ON COLUMN webhook_subscription.ordering IS 'none, or by calendar';
COMMENT ON COLUMN webhook_subscription.concurrency IS 'requests at once';
COMMENT ON COLUMN webhook_subscription.secret IS 'sealed; null: the project''s';
COMMENT ON COLUMN webhook_subscription.former_secret IS 'sealed; signs as well until the overlap ends';
COMMENT ON COLUMN webhook_subscription.failures IS 'failed attempts in a row';
COMMENT ON COLUMN webhook_subscription.silences IS 'attempts in a row without answer';
COMMENT ON COLUMN webhook_subscription.blocked_until IS 'nothing is sent before: it asked, or does not answer';
COMMENT ON COLUMN webhook_subscription.disabled_reason IS 'gone, failing, or operator';
CREATE TABLE webhook_delivery (
    id TEXT NOT NULL,
    n BIGINT GENERATED ALWAYS AS IDENTITY,
    project_id TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    calendar_id TEXT,
    bot_id TEXT,
    trigger TEXT NOT NULL,
    idempotency_key UUID NOT NULL,
    body BYTEA,
    sync_run_id BIGINT,
    status TEXT DEFAULT 'pending' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    spent INTEGER DEFAULT 0 NOT NULL,
    equal_refusals INTEGER DEFAULT 0 NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lease_token UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    last_status INTEGER,
    last_error TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_webhook_delivery PRIMARY KEY (id),
    CONSTRAINT ck_webhook_delivery_status CHECK (status IN ('pending', 'delivered', 'dead', 'rejected')),
    CONSTRAINT fk_webhook_delivery_subscription_id FOREIGN KEY(subscription_id) REFERENCES webhook_subscription (id) ON DELETE CASCADE
);
CREATE INDEX ix_webhook_delivery_age ON webhook_delivery (created_at);
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (subscription_id, next_attempt_at, n) WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_leased ON webhook_delivery (subscription_id) WHERE lease_token IS NOT NULL;
CREATE INDEX ix_webhook_delivery_order ON webhook_delivery (subscription_id, calendar_id, n) WHERE status = 'pending';
CREATE INDEX ix_webhook_delivery_page ON webhook_delivery (project_id, created_at DESC, id DESC);
CREATE INDEX ix_webhook_delivery_subscription ON webhook_delivery (subscription_id, created_at DESC, id DESC);
COMMENT ON TABLE webhook_delivery IS 'One event for one endpoint, written in the transaction of the event; outbox and log.';
COMMENT ON COLUMN webhook_delivery.id IS 'the webhook-id header, the same on each attempt';
COMMENT ON COLUMN webhook_delivery.n IS 'order of writing within a calendar';
COMMENT ON COLUMN webhook_delivery.body IS 'as it is signed and sent; fixed when the event happens; null after retention';
COMMENT ON COLUMN webhook_delivery.attempts IS 'counted when claimed';
COMMENT ON COLUMN webhook_delivery.spent IS 'attempts before it was last queued';
COMMENT ON COLUMN webhook_delivery.equal_refusals IS 'the same 4xx in a row';
COMMENT ON COLUMN webhook_delivery.last_status IS 'HTTP status of the last answer';
COMMENT ON COLUMN webhook_delivery.last_error IS 'machine code of the last failure';
CREATE TABLE webhook_attempt (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    delivery_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    milliseconds INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    excerpt TEXT,
    CONSTRAINT pk_webhook_attempt PRIMARY KEY (id),
    CONSTRAINT fk_webhook_attempt_delivery_id FOREIGN KEY(delivery_id) REFERENCES webhook_delivery (id) ON DELETE CASCADE
);
CREATE INDEX ix_webhook_attempt_delivery ON webhook_attempt (delivery_id, id);
COMMENT ON TABLE webhook_attempt IS 'Each attempt to deliver, with what was answered.';
COMMENT ON COLUMN webhook_attempt.outcome IS 'delivered or failed';
COMMENT ON COLUMN webhook_attempt.status IS 'HTTP status; null: no answer';
COMMENT ON COLUMN webhook_attempt.error IS 'machine code of a failure without or in spite of an answer';
COMMENT ON COLUMN webhook_attempt.excerpt IS 'beginning of the answer, without control characters';

-- Whoever takes a sequence number, or locks its row, learns whether somebody is to be told, without looking further:
-- a subscription is there for all that commits after it.
CREATE FUNCTION webhook_subscription_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE project_counter SET webhooks = webhooks + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    WHERE project_id = CASE TG_OP WHEN 'INSERT' THEN NEW.project_id ELSE OLD.project_id END;
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_subscription_made AFTER INSERT ON webhook_subscription
    FOR EACH ROW WHEN (NEW.bot_id IS NULL) EXECUTE FUNCTION webhook_subscription_counted();
CREATE TRIGGER webhook_subscription_gone AFTER DELETE ON webhook_subscription
    FOR EACH ROW WHEN (OLD.bot_id IS NULL) EXECUTE FUNCTION webhook_subscription_counted();
"""


def upgrade() -> None:
    """Add tables; nothing existing changes."""
    op.execute(UPGRADE)
