"""Why a calendar is as it is, how its OAuth client fares, and what each sync proved."""

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
ALTER TABLE calendar
    ADD COLUMN reason text,
    ADD COLUMN reason_code text,
    ADD COLUMN reason_since timestamptz;
COMMENT ON COLUMN calendar.reason IS
    'user_must_reconnect, operator_must_act, retrying, credential_unreadable, unexplained; null: all is well';
COMMENT ON COLUMN calendar.reason_code IS 'the provider''s machine code';

CREATE TABLE calendar_status (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_calendar_status PRIMARY KEY,
    project_id text NOT NULL,
    calendar_id text NOT NULL,
    at timestamptz NOT NULL,
    state text NOT NULL,
    reason text,
    reason_code text
);
CREATE INDEX ix_calendar_status_calendar ON calendar_status (calendar_id, id DESC);
COMMENT ON TABLE calendar_status IS 'Each change of a calendar''s state or reason, with its time.';

CREATE FUNCTION calendar_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO calendar_status (project_id, calendar_id, at, state, reason, reason_code)
    VALUES (NEW.project_id, NEW.id, NEW.updated_at, NEW.state, NEW.reason, NEW.reason_code);
    RETURN NULL;
END $$;
CREATE TRIGGER calendar_status_changed AFTER UPDATE OF state, reason, reason_code ON calendar
    FOR EACH ROW WHEN ((OLD.state, OLD.reason, OLD.reason_code) IS DISTINCT FROM (NEW.state, NEW.reason, NEW.reason_code))
    EXECUTE FUNCTION calendar_status_changed();
CREATE TRIGGER calendar_status_created AFTER INSERT ON calendar
    FOR EACH ROW EXECUTE FUNCTION calendar_status_changed();

CREATE TABLE oauth_client (
    platform text NOT NULL,
    client_id text NOT NULL,
    refusals int NOT NULL DEFAULT 0,
    refusals_since timestamptz,
    last_granted_at timestamptz,
    paused_until timestamptz,
    paused_code text,
    CONSTRAINT pk_oauth_client PRIMARY KEY (platform, client_id)
);
COMMENT ON TABLE oauth_client IS 'How each customer''s OAuth client fares: refused grants, pauses.';
COMMENT ON COLUMN oauth_client.refusals IS 'users'' grants refused since refusals_since';
COMMENT ON COLUMN oauth_client.paused_until IS 'no calendar of this client is read before';

ALTER TABLE sync_run
    ADD COLUMN drift int NOT NULL DEFAULT 0,
    ADD COLUMN covers_from timestamptz,
    ADD COLUMN covers_until timestamptz,
    ADD COLUMN digest bytea,
    ADD COLUMN token_kind text;
COMMENT ON COLUMN sync_run.drift IS 'changes that a listing found and the cursor had not announced';
COMMENT ON COLUMN sync_run.covers_from IS 'what a listing covered';
COMMENT ON COLUMN sync_run.digest IS 'of all event fingerprints of a listing; equal means the same content';
COMMENT ON COLUMN sync_run.token_kind IS 'cached or fresh access token';
CREATE INDEX ix_sync_run_drift ON sync_run (id) WHERE drift > 0;
"""


def upgrade() -> None:
    """Add columns and tables; nothing existing changes."""
    op.execute(UPGRADE)
