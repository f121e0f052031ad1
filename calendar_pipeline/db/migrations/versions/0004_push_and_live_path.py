"""Push channels, what push asks of a calendar, and the runs of the live path."""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
CREATE TABLE notification_channel (
    id text CONSTRAINT pk_notification_channel PRIMARY KEY,
    calendar_id text NOT NULL,
    project_id text NOT NULL,
    platform text NOT NULL,
    state text NOT NULL,
    token_hash bytea NOT NULL,
    path_hash bytea NOT NULL CONSTRAINT uq_notification_channel_path_hash UNIQUE,
    remote_id text,
    resource_id text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    confirmed_at timestamptz,
    expires_at timestamptz NOT NULL,
    next_at timestamptz,
    failures int NOT NULL DEFAULT 0,
    code text,
    notifications bigint NOT NULL DEFAULT 0,
    last_notified_at timestamptz,
    client_id text,
    client_secret bytea,
    refresh_token bytea,
    access_token bytea,
    access_token_expires_at timestamptz,
    lease_token uuid,
    lease_until timestamptz,
    CONSTRAINT ck_notification_channel_platform CHECK (platform IN ('google', 'microsoft')),
    CONSTRAINT ck_notification_channel_state CHECK (state IN ('asked', 'live', 'refused', 'stopping', 'ended'))
);
CREATE INDEX ix_notification_channel_calendar ON notification_channel (calendar_id);
CREATE INDEX ix_notification_channel_next ON notification_channel (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX ix_notification_channel_remote ON notification_channel (remote_id) WHERE remote_id IS NOT NULL;
COMMENT ON TABLE notification_channel IS
    'A watch on a calendar at its provider, from the request for it until its last message can have come.';
COMMENT ON COLUMN notification_channel.id IS 'Google''s channel id';
COMMENT ON COLUMN notification_channel.calendar_id IS 'no foreign key: a channel is stopped after its calendar is gone';
COMMENT ON COLUMN notification_channel.state IS 'asked, live, refused, stopping, ended';
COMMENT ON COLUMN notification_channel.token_hash IS 'SHA-256 of Google''s token or Graph''s clientState';
COMMENT ON COLUMN notification_channel.path_hash IS 'SHA-256 of the secret part of the address';
COMMENT ON COLUMN notification_channel.remote_id IS 'Graph''s subscription id';
COMMENT ON COLUMN notification_channel.resource_id IS 'Google''s resource id';
COMMENT ON COLUMN notification_channel.confirmed_at IS 'since when it is known to reach us';
COMMENT ON COLUMN notification_channel.next_at IS 'when something is to be done about it; null: never';
COMMENT ON COLUMN notification_channel.failures IS 'in a row';
COMMENT ON COLUMN notification_channel.code IS 'machine code of the last failure';
COMMENT ON COLUMN notification_channel.notifications IS 'that asked for a sync';
COMMENT ON COLUMN notification_channel.client_secret IS 'sealed';
COMMENT ON COLUMN notification_channel.refresh_token IS 'sealed';
COMMENT ON COLUMN notification_channel.access_token IS 'sealed';

ALTER TABLE calendar
    ADD COLUMN pushed_at timestamptz,
    ADD COLUMN look_again boolean NOT NULL DEFAULT false,
    ADD COLUMN misses int NOT NULL DEFAULT 0,
    ADD COLUMN missed_at timestamptz,
    ADD COLUMN channel_wanted boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN calendar.pushed_at IS 'the last notification that asked for a sync';
COMMENT ON COLUMN calendar.look_again IS 'the last push came before its change';
COMMENT ON COLUMN calendar.misses IS 'polls that found what no push told';
COMMENT ON COLUMN calendar.channel_wanted IS 'no channel is kept alive';
CREATE INDEX ix_calendar_asked ON calendar (next_sync_at)
    WHERE ((requested_gen > synced_gen AND failures = 0) OR look_again);
CREATE INDEX ix_calendar_channel_wanted ON calendar (id) WHERE channel_wanted;

-- Whoever deletes or disconnects a calendar need not know that someone has to tell its provider.
CREATE FUNCTION calendar_deleted_channels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE notification_channel
    SET state = 'stopping', next_at = 'epoch', failures = 0, code = NULL, client_id = OLD.client_id,
        client_secret = OLD.client_secret, refresh_token = OLD.refresh_token,
        access_token = COALESCE(OLD.access_token, access_token),
        access_token_expires_at = COALESCE(OLD.access_token_expires_at, access_token_expires_at)
    WHERE calendar_id = OLD.id AND state IN ('asked', 'live', 'stopping');
    DELETE FROM notification_channel WHERE calendar_id = OLD.id AND state = 'refused';
    RETURN NULL;
END $$;
CREATE TRIGGER calendar_deleted_channels AFTER DELETE ON calendar
    FOR EACH ROW EXECUTE FUNCTION calendar_deleted_channels();

CREATE FUNCTION calendar_disconnected_channels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE notification_channel
    SET state = 'stopping', next_at = 'epoch', failures = 0, code = NULL, access_token = OLD.access_token,
        access_token_expires_at = OLD.access_token_expires_at
    WHERE calendar_id = OLD.id AND state IN ('asked', 'live');
    DELETE FROM notification_channel WHERE calendar_id = OLD.id AND state = 'refused';
    NEW.channel_wanted := true;
    RETURN NEW;
END $$;
CREATE TRIGGER calendar_disconnected_channels BEFORE UPDATE OF state ON calendar
    FOR EACH ROW WHEN (OLD.state = 'connected' AND NEW.state = 'disconnected')
    EXECUTE FUNCTION calendar_disconnected_channels();

ALTER TABLE sync_run
    ADD COLUMN cause text,
    ADD COLUMN pushed_at timestamptz,
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN missed int NOT NULL DEFAULT 0;
COMMENT ON COLUMN sync_run.cause IS 'push, second_look, asked, retry, or poll';
COMMENT ON COLUMN sync_run.pushed_at IS 'when the notification came that caused it';
COMMENT ON COLUMN sync_run.changed_at IS 'by the provider''s clock: the first change that it brought anew';
COMMENT ON COLUMN sync_run.missed IS 'changes that push should have told of';
CREATE INDEX ix_sync_run_changed ON sync_run (finished_at) WHERE changed_at IS NOT NULL;

CREATE TABLE live_run (
    id uuid CONSTRAINT pk_live_run PRIMARY KEY,
    run_id text,
    state text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_until timestamptz NOT NULL,
    retires_at timestamptz,
    CONSTRAINT ck_live_run_state CHECK (state IN ('waiting', 'working', 'ending'))
);
COMMENT ON TABLE live_run IS 'A run of the live path, from its start to its end or a little after its death.';
COMMENT ON COLUMN live_run.run_id IS 'the Dagster run; null: one outside Dagster';
COMMENT ON COLUMN live_run.state IS 'waiting, working, ending';
COMMENT ON COLUMN live_run.beat_until IS 'dead if this has passed';
"""


def upgrade() -> None:
    """Add columns and tables; nothing existing changes."""
    op.execute(UPGRADE)
