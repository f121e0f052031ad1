"""The first schema.

Plain SQL on purpose: a migration must stay what it was when the table definitions in the code move on.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE event_history (
    project_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    calendar_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    change TEXT NOT NULL,
    changed TEXT[] NOT NULL,
    before JSONB NOT NULL,
    provider_event_id TEXT NOT NULL,
    ical_uid TEXT,
    title TEXT,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    start_date DATE,
    end_date DATE,
    start_time TIMESTAMP WITH TIME ZONE NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE NOT NULL,
    time_zone TEXT,
    status TEXT NOT NULL,
    meeting_url TEXT,
    meeting_link TEXT,
    meeting_platform TEXT,
    meeting_key TEXT,
    organizer_email TEXT,
    own_response TEXT,
    attendees JSON NOT NULL,
    series_id TEXT,
    original_starts_at TIMESTAMP WITH TIME ZONE,
    location TEXT,
    visibility TEXT NOT NULL,
    is_busy BOOLEAN NOT NULL,
    event_type TEXT NOT NULL,
    provider_updated_at TIMESTAMP WITH TIME ZONE,
    raw JSON NOT NULL,
    fingerprint BYTEA NOT NULL,
    is_deleted BOOLEAN DEFAULT false NOT NULL,
    sync_run_id BIGINT,
    CONSTRAINT pk_event_history PRIMARY KEY (project_id, seq, recorded_at),
    CONSTRAINT ck_event_history_change CHECK (change IN ('created', 'updated', 'deleted', 'restored'))
)
 PARTITION BY RANGE (recorded_at);
CREATE INDEX ix_event_history_calendar ON event_history (calendar_id, seq);
CREATE INDEX ix_event_history_event ON event_history (event_id, version);
COMMENT ON TABLE event_history IS 'Every version of every event, append-only, partitioned by month of recorded_at.';
COMMENT ON COLUMN event_history.seq IS 'dense per project, in commit order';
COMMENT ON COLUMN event_history.changed IS 'names of the fields that changed';
COMMENT ON COLUMN event_history.before IS 'former values of the changed fields';
COMMENT ON COLUMN event_history.fingerprint IS 'digest of all content; equal means unchanged';
COMMENT ON COLUMN event_history.sync_run_id IS 'null: not made by a sync';

CREATE TABLE project (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_project PRIMARY KEY (id)
);
COMMENT ON TABLE project IS 'A tenant: the application whose users'' calendars are followed.';

CREATE TABLE sync_run (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    project_id TEXT NOT NULL,
    calendar_id TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    outcome TEXT NOT NULL,
    error_code TEXT,
    mode TEXT,
    why TEXT,
    requests INTEGER NOT NULL,
    response_bytes BIGINT NOT NULL,
    pages INTEGER NOT NULL,
    items INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    restored INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    run_id TEXT,
    CONSTRAINT pk_sync_run PRIMARY KEY (id)
);
CREATE INDEX ix_sync_run_calendar ON sync_run (calendar_id, id DESC);
COMMENT ON TABLE sync_run IS 'One row for each attempt to sync a calendar.';
COMMENT ON COLUMN sync_run.outcome IS 'synced, or the class of error';
COMMENT ON COLUMN sync_run.error_code IS 'the provider''s machine code';
COMMENT ON COLUMN sync_run.mode IS 'incremental or listing';
COMMENT ON COLUMN sync_run.why IS 'what made it a listing';
COMMENT ON COLUMN sync_run.run_id IS 'the Dagster run, if any';

CREATE TABLE api_key (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    key_hash BYTEA NOT NULL,
    last_four TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT fk_api_key_project_id FOREIGN KEY(project_id) REFERENCES project (id) ON DELETE CASCADE,
    CONSTRAINT uq_api_key_key_hash UNIQUE (key_hash)
);
CREATE INDEX ix_api_key_project_id ON api_key (project_id);
COMMENT ON COLUMN api_key.key_hash IS 'SHA-256 of the key';

CREATE TABLE calendar (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    platform TEXT NOT NULL,
    platform_uuid TEXT,
    client_id TEXT NOT NULL,
    client_secret BYTEA NOT NULL,
    refresh_token BYTEA NOT NULL,
    access_token BYTEA,
    access_token_expires_at TIMESTAMP WITH TIME ZONE,
    deduplication_key TEXT,
    metadata JSON,
    state TEXT DEFAULT 'connected' NOT NULL,
    connection_failure_data JSON,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_successful_sync_at TIMESTAMP WITH TIME ZONE,
    last_attempted_sync_at TIMESTAMP WITH TIME ZONE,
    sync_token TEXT,
    sync_parameters TEXT,
    time_zone TEXT,
    held_from TIMESTAMP WITH TIME ZONE,
    held_until TIMESTAMP WITH TIME ZONE,
    relist_at TIMESTAMP WITH TIME ZONE,
    requested_gen BIGINT DEFAULT 1 NOT NULL,
    synced_gen BIGINT DEFAULT 0 NOT NULL,
    next_sync_at TIMESTAMP WITH TIME ZONE,
    failures INTEGER DEFAULT 0 NOT NULL,
    suspected_at TIMESTAMP WITH TIME ZONE,
    quarantined INTEGER DEFAULT 0 NOT NULL,
    unpublished BOOLEAN DEFAULT true NOT NULL,
    lease_token UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_calendar PRIMARY KEY (id),
    CONSTRAINT ck_calendar_platform CHECK (platform IN ('google', 'microsoft')),
    CONSTRAINT ck_calendar_state CHECK (state IN ('connected', 'disconnected')),
    CONSTRAINT ck_calendar_generation CHECK (synced_gen <= requested_gen),
    CONSTRAINT uq_calendar_project_id_deduplication_key UNIQUE (project_id, deduplication_key),
    CONSTRAINT fk_calendar_project_id FOREIGN KEY(project_id) REFERENCES project (id) ON DELETE CASCADE
);
CREATE INDEX ix_calendar_due ON calendar (next_sync_at) WHERE next_sync_at IS NOT NULL;
CREATE INDEX ix_calendar_page ON calendar (project_id, created_at DESC, id DESC);
COMMENT ON TABLE calendar IS 'A followed calendar: credentials, connection state, and where its next sync starts.';
COMMENT ON COLUMN calendar.platform_uuid IS 'the provider''s calendar id; null: the account''s primary calendar';
COMMENT ON COLUMN calendar.client_secret IS 'sealed';
COMMENT ON COLUMN calendar.refresh_token IS 'sealed';
COMMENT ON COLUMN calendar.access_token IS 'sealed; a cache';
COMMENT ON COLUMN calendar.failures IS 'failed syncs in a row';
COMMENT ON COLUMN calendar.quarantined IS 'events set aside now';
COMMENT ON COLUMN calendar.unpublished IS 'Dagster is still to be told';

CREATE TABLE project_counter (
    project_id TEXT NOT NULL,
    n BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_project_counter PRIMARY KEY (project_id),
    CONSTRAINT fk_project_counter_project_id FOREIGN KEY(project_id) REFERENCES project (id) ON DELETE CASCADE
);
COMMENT ON TABLE project_counter IS 'The last history sequence number given out; taken last in a transaction, so order is commit order.';

CREATE TABLE webhook_secret (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    secret BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_webhook_secret PRIMARY KEY (id),
    CONSTRAINT fk_webhook_secret_project_id FOREIGN KEY(project_id) REFERENCES project (id) ON DELETE CASCADE
);
CREATE INDEX ix_webhook_secret_project_id ON webhook_secret (project_id);
COMMENT ON COLUMN webhook_secret.secret IS 'sealed';

CREATE TABLE calendar_event (
    id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    calendar_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    provider_event_id TEXT NOT NULL,
    ical_uid TEXT,
    title TEXT,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    start_date DATE,
    end_date DATE,
    start_time TIMESTAMP WITH TIME ZONE NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE NOT NULL,
    time_zone TEXT,
    status TEXT NOT NULL,
    meeting_url TEXT,
    meeting_link TEXT,
    meeting_platform TEXT,
    meeting_key TEXT,
    organizer_email TEXT,
    own_response TEXT,
    attendees JSON NOT NULL,
    series_id TEXT,
    original_starts_at TIMESTAMP WITH TIME ZONE,
    location TEXT,
    visibility TEXT NOT NULL,
    is_busy BOOLEAN NOT NULL,
    event_type TEXT NOT NULL,
    provider_updated_at TIMESTAMP WITH TIME ZONE,
    raw JSON NOT NULL,
    fingerprint BYTEA NOT NULL,
    is_deleted BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_calendar_event PRIMARY KEY (id),
    CONSTRAINT uq_calendar_event_calendar_id_provider_event_id UNIQUE (calendar_id, provider_event_id),
    CONSTRAINT fk_calendar_event_calendar_id FOREIGN KEY(calendar_id) REFERENCES calendar (id) ON DELETE CASCADE
);
CREATE INDEX ix_calendar_event_calendar_updated ON calendar_event (calendar_id, updated_at, id);
CREATE INDEX ix_calendar_event_created ON calendar_event (project_id, created_at, id);
CREATE INDEX ix_calendar_event_end ON calendar_event (project_id, end_time, id);
CREATE INDEX ix_calendar_event_held ON calendar_event (calendar_id, ends_at, starts_at) WHERE NOT is_deleted;
CREATE INDEX ix_calendar_event_series ON calendar_event (calendar_id, series_id) WHERE series_id IS NOT NULL;
CREATE INDEX ix_calendar_event_start ON calendar_event (project_id, start_time, id);
CREATE INDEX ix_calendar_event_updated ON calendar_event (project_id, updated_at, id);
COMMENT ON TABLE calendar_event IS 'Each event as it is now; equals the last version in event_history.';
COMMENT ON COLUMN calendar_event.fingerprint IS 'digest of all content; equal means unchanged';

CREATE TABLE quarantined_event (
    calendar_id TEXT NOT NULL,
    provider_event_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    raw TEXT NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_quarantined_event PRIMARY KEY (calendar_id, provider_event_id),
    CONSTRAINT fk_quarantined_event_calendar_id FOREIGN KEY(calendar_id) REFERENCES calendar (id) ON DELETE CASCADE
);
COMMENT ON TABLE quarantined_event IS 'Events that cannot be kept as they are, with the reason; the rest of their calendar goes on.';
COMMENT ON COLUMN quarantined_event.raw IS 'the provider''s JSON, ASCII, cut at 64 KiB';
"""

HISTORY = """
CREATE FUNCTION event_history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' AND current_setting('calendar_pipeline.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'event_history is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER event_history_append_only BEFORE UPDATE OR DELETE ON event_history
    FOR EACH ROW EXECUTE FUNCTION event_history_is_append_only();
CREATE TRIGGER event_history_no_truncate BEFORE TRUNCATE ON event_history
    FOR EACH STATEMENT EXECUTE FUNCTION event_history_is_append_only();

CREATE TABLE event_history_default PARTITION OF event_history DEFAULT;
CREATE TRIGGER event_history_no_truncate BEFORE TRUNCATE ON event_history_default
    FOR EACH STATEMENT EXECUTE FUNCTION event_history_is_append_only();

-- Partitions for `months` months from `first` on; rows that already lie in the default partition move over.
CREATE FUNCTION event_history_prepare(first date, months int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    low date;
    high date;
    part text;
    made int := 0;
BEGIN
    FOR i IN 0 .. months - 1 LOOP
        low := date_trunc('month', first)::date + make_interval(months => i);
        high := low + make_interval(months => 1);
        part := 'event_history_' || to_char(low, 'YYYY_MM');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        -- One at a time; and rows that others are just writing there must not fall between the copy and the deletion.
        -- Only the lock of a table, and no advisory one, makes the next line see what others have committed.
        LOCK TABLE event_history_default IN ACCESS EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE event_history INCLUDING ALL)', part);
        EXECUTE format('INSERT INTO %I SELECT * FROM event_history_default WHERE recorded_at >= %L AND recorded_at < %L',
                       part, low::timestamp AT TIME ZONE 'UTC', high::timestamp AT TIME ZONE 'UTC');
        PERFORM set_config('calendar_pipeline.retention', 'on', true);
        EXECUTE format('DELETE FROM event_history_default WHERE recorded_at >= %L AND recorded_at < %L',
                       low::timestamp AT TIME ZONE 'UTC', high::timestamp AT TIME ZONE 'UTC');
        PERFORM set_config('calendar_pipeline.retention', 'off', true);
        EXECUTE format('ALTER TABLE event_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, low::timestamp AT TIME ZONE 'UTC', high::timestamp AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TRIGGER event_history_no_truncate BEFORE TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION event_history_is_append_only()', part);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
"""


def upgrade() -> None:
    """Create everything."""
    op.execute(TABLES)
    op.execute(HISTORY)
