"""How OAuth clients fare, for each project by itself, and since when a calendar has its credentials."""

from alembic import op

revision = "0017"
down_revision = "0016"

UPGRADE = """
ALTER TABLE calendar ADD COLUMN credentials_at timestamptz;
COMMENT ON COLUMN calendar.credentials_at IS
    'since when it has its present credentials; null: since it was created';

ALTER TABLE oauth_client RENAME TO oauth_client_of_all;
ALTER TABLE oauth_client_of_all RENAME CONSTRAINT pk_oauth_client TO pk_oauth_client_of_all;
CREATE TABLE oauth_client (
    project_id text NOT NULL,
    platform text NOT NULL,
    client_id text NOT NULL,
    refused_users text[] NOT NULL DEFAULT '{}',
    refusals_since timestamptz,
    refused_calendars text[] NOT NULL DEFAULT '{}',
    last_granted_at timestamptz,
    paused_until timestamptz,
    paused_code text,
    refused_at timestamptz,
    CONSTRAINT pk_oauth_client PRIMARY KEY (project_id, platform, client_id)
);
INSERT INTO oauth_client (project_id, platform, client_id, last_granted_at)
SELECT DISTINCT c.project_id, o.platform, o.client_id, o.last_granted_at
FROM oauth_client_of_all o JOIN calendar c ON c.platform = o.platform AND c.client_id = o.client_id
WHERE o.last_granted_at IS NOT NULL AND c.last_successful_sync_at IS NOT NULL;
DROP TABLE oauth_client_of_all;

COMMENT ON TABLE oauth_client IS 'How each OAuth client fares in a project: refused grants, pauses.';
COMMENT ON COLUMN oauth_client.project_id IS 'the tenant';
COMMENT ON COLUMN oauth_client.refused_users IS
    'digests of accounts refused since refusals_since, or of calendars whose account is not known; a few of them';
COMMENT ON COLUMN oauth_client.refused_calendars IS
    'calendars for which the client itself was refused since last_granted_at; a few of them';
COMMENT ON COLUMN oauth_client.paused_until IS 'no calendar of this client is read before, but see refused_at';
COMMENT ON COLUMN oauth_client.refused_at IS
    'the pause is not for calendars whose credentials are newer; null: it is for all, asked to slow down';
"""


def upgrade() -> None:
    """Make the table anew. Pauses end, which are for minutes; that a client was granted tokens is kept."""
    op.execute(UPGRADE)
