"""Scopes of keys, turns for stamps, the feed's epoch, the audit log, answers to repeat, and shared rate limits."""

from alembic import op

revision = "0010"
down_revision = "0009"

UPGRADE = """
ALTER TABLE api_key
    ADD COLUMN name text NOT NULL DEFAULT '',
    ADD COLUMN prefix text NOT NULL DEFAULT '',
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{*}',
    ADD COLUMN expires_at timestamptz;
COMMENT ON COLUMN api_key.prefix IS 'how it begins, to tell keys apart';
COMMENT ON COLUMN api_key.scopes IS 'what it may do; * is everything';

ALTER TABLE project_counter ADD COLUMN stamped_at timestamptz;
COMMENT ON COLUMN project_counter.stamped_at IS 'the last stamp given out';
COMMENT ON TABLE project_counter IS
    'The last history sequence number and stamp given out, by turns, so their order is commit order.';
UPDATE project_counter SET stamped_at = (SELECT max(e.updated_at) FROM calendar_event e
    WHERE e.project_id = project_counter.project_id);

-- Who writes events of a project holds this lock from before the stamp until the commit; who reads them by their
-- stamp waits here for the one that is writing, so that what was stamped before the reading is seen by it.
CREATE FUNCTION project_lock(project text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(project, 1129336176);
CREATE FUNCTION project_settled(project text) RETURNS boolean LANGUAGE plpgsql VOLATILE
    SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(project_lock(project));
    RETURN true;
END $$;

CREATE TABLE feed_epoch (
    id int NOT NULL CONSTRAINT pk_feed_epoch PRIMARY KEY,
    epoch text NOT NULL,
    since timestamptz NOT NULL,
    CONSTRAINT ck_feed_epoch_single CHECK (id = 1)
);
COMMENT ON TABLE feed_epoch IS 'One row: the name of this run of sequence numbers. A restored backup gets another.';
INSERT INTO feed_epoch VALUES (1, replace(gen_random_uuid()::text, '-', ''), clock_timestamp());

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_audit_log PRIMARY KEY,
    at timestamptz NOT NULL,
    project_id text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text,
    request_id text NOT NULL,
    stage text NOT NULL,
    status smallint,
    CONSTRAINT ck_audit_log_stage CHECK (stage IN ('asked', 'answered'))
);
CREATE INDEX ix_audit_log_project ON audit_log (project_id, id);
CREATE INDEX ix_audit_log_request ON audit_log (request_id);
COMMENT ON TABLE audit_log IS 'Every write that was asked for, and how it was answered. Append-only; holds no content.';
COMMENT ON COLUMN audit_log.actor IS 'a key''s id, or cli';
COMMENT ON COLUMN audit_log.action IS 'method and path template, or the command';
COMMENT ON COLUMN audit_log.subject IS 'the id of what was written';
COMMENT ON COLUMN audit_log.stage IS 'asked: before anything is done; answered: with the status';

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' AND current_setting('calendar_pipeline.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

CREATE TABLE idempotency_key (
    project_id text NOT NULL CONSTRAINT fk_idempotency_key_project_id REFERENCES project (id) ON DELETE CASCADE,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    token uuid NOT NULL,
    busy_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    status smallint,
    content_type text,
    answer bytea,
    CONSTRAINT pk_idempotency_key PRIMARY KEY (project_id, key)
);
CREATE INDEX ix_idempotency_key_expires ON idempotency_key (expires_at);
COMMENT ON TABLE idempotency_key IS 'Answers to POSTs that carried an Idempotency-Key, to be given again.';
COMMENT ON COLUMN idempotency_key.fingerprint IS 'digest of method, path, query and body';
COMMENT ON COLUMN idempotency_key.token IS 'of the request that may finish it';
COMMENT ON COLUMN idempotency_key.status IS 'null: not answered yet';
COMMENT ON COLUMN idempotency_key.answer IS 'sealed';

CREATE UNLOGGED TABLE rate_limit (
    name text NOT NULL CONSTRAINT pk_rate_limit PRIMARY KEY,
    full_at timestamptz NOT NULL
);
COMMENT ON TABLE rate_limit IS 'Token buckets that all API processes share: the instant at which each is full again.';
"""


def upgrade() -> None:
    """Existing keys keep every right."""
    op.execute(UPGRADE)
