"""From which instant on a project's states are whole, so that nobody is told half of one as if it were all."""

from alembic import op

revision = "0016"
down_revision = "0015"

UPGRADE = """
ALTER TABLE project_counter ADD COLUMN kept_from timestamptz;
UPDATE project_counter c SET kept_from = now() - p.retention_days * interval '1 day'
FROM project p WHERE p.id = c.project_id AND c.expired > 0 AND p.retention_days IS NOT NULL;

CREATE FUNCTION history_is_not_kept(project text, kept_from timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION '% keeps its history from % on: what held before is not known', project, kept_from
        USING ERRCODE = 'no_data_found', HINT = 'Ask for a later instant, or name other projects. '
            'project_counter.kept_from has it for each project.';
END $$;
COMMENT ON FUNCTION history_is_not_kept(text, timestamptz) IS 'Says so, as an error.';
"""


def upgrade() -> None:
    """Add a column and a function; nothing existing changes."""
    op.execute(UPGRADE)
