"""Bots, the decisions about them, and how far they have followed their events."""

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = """
CREATE TABLE bot (
    id text CONSTRAINT pk_bot PRIMARY KEY,
    project_id text NOT NULL CONSTRAINT fk_bot_project_id REFERENCES project (id) ON DELETE CASCADE,
    calendar_id text CONSTRAINT fk_bot_calendar_id REFERENCES calendar (id) ON DELETE SET NULL,
    event_id text CONSTRAINT fk_bot_event_id REFERENCES calendar_event (id) ON DELETE SET NULL,
    name text NOT NULL,
    meeting_url text NOT NULL,
    join_at timestamptz,
    state text NOT NULL,
    transcription_state text NOT NULL DEFAULT 'not_started',
    recording_state text NOT NULL DEFAULT 'not_started',
    events jsonb NOT NULL DEFAULT '[]',
    metadata json,
    deduplication_key text,
    settings bytea,
    made_by text NOT NULL DEFAULT 'client',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL,
    event_version int,
    follows_start timestamptz,
    follows_link text,
    ends_at timestamptz,
    suspended_at timestamptz,
    suspended_because text,
    gone_at timestamptz,
    gone_because text,
    due_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    launch int NOT NULL DEFAULT 1,
    sent_at timestamptz,
    handed_at timestamptz,
    runner_bot_id text,
    lease_token uuid,
    lease_until timestamptz,
    CONSTRAINT ck_bot_made_by CHECK (made_by IN ('client', 'rules')),
    CONSTRAINT ck_bot_gone CHECK ((gone_at IS NULL) = (gone_because IS NULL))
);
CREATE UNIQUE INDEX uq_bot_deduplication_key ON bot (project_id, deduplication_key)
    WHERE deduplication_key IS NOT NULL AND gone_at IS NULL AND state NOT IN ('fatal_error', 'ended', 'data_deleted');
CREATE INDEX ix_bot_page ON bot (project_id, created_at, id) WHERE gone_at IS NULL;
CREATE INDEX ix_bot_meeting_url ON bot (project_id, meeting_url) WHERE gone_at IS NULL;
CREATE INDEX ix_bot_join_at ON bot (project_id, join_at) WHERE gone_at IS NULL;
CREATE INDEX ix_bot_event ON bot (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX ix_bot_calendar ON bot (calendar_id) WHERE calendar_id IS NOT NULL;
CREATE INDEX ix_bot_due ON bot (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE bot IS 'Each bot: what it joins, what it follows, how far its launch is.';
COMMENT ON COLUMN bot.meeting_url IS 'normalised';
COMMENT ON COLUMN bot.events IS 'as the API shows them, oldest first';
COMMENT ON COLUMN bot.settings IS 'sealed JSON: what else the bot was made with; may hold stream keys';
COMMENT ON COLUMN bot.event_version IS 'of the event, when the bot was last planned';
COMMENT ON COLUMN bot.suspended_because IS 'the event has no meeting link';
COMMENT ON COLUMN bot.due_at IS 'when the bot is to be looked at; null: when its event changes';
COMMENT ON COLUMN bot.attempts IS 'hand-overs tried in a row';
COMMENT ON COLUMN bot.launch IS '2: replaced after a recall';
COMMENT ON COLUMN bot.runner_bot_id IS 'the runner''s own id of this bot';

CREATE TABLE bot_event (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_bot_event PRIMARY KEY,
    bot_id text NOT NULL CONSTRAINT fk_bot_event_bot_id REFERENCES bot (id) ON DELETE CASCADE,
    at timestamptz NOT NULL,
    decision text NOT NULL,
    reason text NOT NULL,
    event_id text,
    event_version int,
    old_state text,
    new_state text,
    type text,
    sub_type text,
    details json
);
CREATE INDEX ix_bot_event_bot ON bot_event (bot_id, id);
COMMENT ON TABLE bot_event IS 'Each decision about a bot, with the reason and the event''s version that caused it.';
COMMENT ON COLUMN bot_event.decision IS 'made, moved, suspended, launched, ...';
COMMENT ON COLUMN bot_event.reason IS 'one line';
COMMENT ON COLUMN bot_event.event_version IS 'the version of the event that caused it';
COMMENT ON COLUMN bot_event.type IS 'of the event that the API shows, if it shows one';

CREATE TABLE bot_position (
    project_id text CONSTRAINT pk_bot_position PRIMARY KEY
        CONSTRAINT fk_bot_position_project_id REFERENCES project (id) ON DELETE CASCADE,
    seq bigint NOT NULL DEFAULT 0,
    lease_token uuid,
    lease_until timestamptz
);
COMMENT ON TABLE bot_position IS 'How far the bots of each project have followed its history.';
COMMENT ON COLUMN bot_position.seq IS 'history read up to here';
"""


def upgrade() -> None:
    """Add tables; nothing existing changes."""
    op.execute(UPGRADE)
