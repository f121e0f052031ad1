"""What analysts' views stand on: minutes of a set of times, an index for states as of an instant, and a note of views.

The views themselves are made by every upgrade from `calendar_pipeline.db.analysts`, and so are all comments.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
CREATE TABLE analyst_view (
    name text CONSTRAINT pk_analyst_view PRIMARY KEY,
    digest text NOT NULL
);

CREATE FUNCTION minutes_of(times tstzmultirange) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sum(extract(epoch FROM upper(part) - lower(part))) / 60 FROM unnest(times) AS part
$$;
COMMENT ON FUNCTION minutes_of(tstzmultirange) IS 'How many minutes a set of times covers.';

CREATE INDEX ix_event_history_as_of
    ON event_history (project_id, calendar_id, event_id, version DESC) INCLUDE (recorded_at, seq, is_deleted);
"""


def upgrade() -> None:
    """Add; nothing existing changes."""
    op.execute(UPGRADE)
