"""Hosted connect: registered OAuth applications, connections under way, and whose account a calendar is."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = """
CREATE TABLE oauth_application (
    id text CONSTRAINT pk_oauth_application PRIMARY KEY,
    project_id text NOT NULL CONSTRAINT fk_oauth_application_project_id REFERENCES project (id) ON DELETE CASCADE,
    platform text NOT NULL,
    client_id text NOT NULL,
    client_secret bytea NOT NULL,
    return_urls text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL,
    CONSTRAINT ck_oauth_application_platform CHECK (platform IN ('google', 'microsoft')),
    CONSTRAINT uq_oauth_application_project_id_platform UNIQUE (project_id, platform)
);
COMMENT ON TABLE oauth_application IS 'The OAuth client that hosted connect uses for a project''s users.';
COMMENT ON COLUMN oauth_application.client_secret IS 'sealed';
COMMENT ON COLUMN oauth_application.return_urls IS 'where a person may be sent back to, letter for letter';

CREATE TABLE connect_state (
    id text CONSTRAINT pk_connect_state PRIMARY KEY,
    project_id text NOT NULL CONSTRAINT fk_connect_state_project_id REFERENCES project (id) ON DELETE CASCADE,
    application_id text NOT NULL
        CONSTRAINT fk_connect_state_application_id REFERENCES oauth_application (id) ON DELETE CASCADE,
    stage text NOT NULL,
    token_hash bytea NOT NULL,
    browser_hash bytea,
    verifier bytea,
    refresh_token bytea,
    account_id text,
    account_email text,
    choices json,
    return_url text NOT NULL,
    return_state text,
    user_label text,
    login_hint text,
    calendar_id text,
    deduplication_key text,
    metadata json,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT ck_connect_state_stage CHECK (stage IN ('offered', 'asked', 'answered', 'granted')),
    CONSTRAINT uq_connect_state_token_hash UNIQUE (token_hash)
);
CREATE INDEX ix_connect_state_expires ON connect_state (expires_at);
COMMENT ON TABLE connect_state IS 'A connection under way. Each stage''s token works once; rows live ten minutes.';
COMMENT ON COLUMN connect_state.stage IS 'offered, asked, answered, granted';
COMMENT ON COLUMN connect_state.token_hash IS 'SHA-256 of the token that goes on from here';
COMMENT ON COLUMN connect_state.browser_hash IS 'SHA-256 of the cookie of the browser that began';
COMMENT ON COLUMN connect_state.verifier IS 'sealed; PKCE';
COMMENT ON COLUMN connect_state.refresh_token IS 'sealed; granted, and not yet a calendar''s';
COMMENT ON COLUMN connect_state.account_id IS 'the provider''s subject';
COMMENT ON COLUMN connect_state.choices IS 'the account''s calendars, while the person picks one';
COMMENT ON COLUMN connect_state.return_state IS 'the application''s own, handed back';
COMMENT ON COLUMN connect_state.user_label IS 'for whom the application says it connects';
COMMENT ON COLUMN connect_state.calendar_id IS 'the calendar to reconnect';

CREATE TABLE calendar_account (
    calendar_id text CONSTRAINT pk_calendar_account PRIMARY KEY
        CONSTRAINT fk_calendar_account_calendar_id REFERENCES calendar (id) ON DELETE CASCADE,
    project_id text NOT NULL,
    account_id text NOT NULL,
    account_email text,
    connected_at timestamptz NOT NULL
);
COMMENT ON TABLE calendar_account IS 'Whose account a calendar was connected with, where hosted connect saw it.';
COMMENT ON COLUMN calendar_account.account_id IS 'the provider''s subject; a reconnect must show the same';
"""


def upgrade() -> None:
    """Add tables; nothing existing changes."""
    op.execute(UPGRADE)
