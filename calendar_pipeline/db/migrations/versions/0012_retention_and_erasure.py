"""How long a project's history is kept, and whose content was erased from it."""

from alembic import op

revision = "0012"
down_revision = "0011"

UPGRADE = """
ALTER TABLE project ADD COLUMN retention_days int CONSTRAINT ck_project_retention CHECK (retention_days > 0);
ALTER TABLE project_counter
    ADD COLUMN expired bigint NOT NULL DEFAULT 0,
    ADD COLUMN floor bigint NOT NULL DEFAULT 0;

CREATE TABLE erasure (
    id text CONSTRAINT pk_erasure PRIMARY KEY,
    project_id text NOT NULL,
    kind text NOT NULL,
    digest bytea,
    calendar_id text,
    erased_at timestamptz NOT NULL,
    rows jsonb NOT NULL,
    first_seq bigint,
    last_seq bigint,
    CONSTRAINT ck_erasure_kind CHECK (kind IN ('person', 'calendar')),
    CONSTRAINT ck_erasure_subject CHECK ((kind = 'person') = (digest IS NOT NULL))
);
CREATE INDEX ix_erasure_person ON erasure (project_id) WHERE digest IS NOT NULL;
CREATE INDEX ix_sync_run_finished ON sync_run (finished_at);
ALTER TABLE event_history ADD COLUMN erasure_id text;

CREATE OR REPLACE FUNCTION event_history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- An erasure redacts content in place; what a version is, and that it is, stays.
        IF NEW.erasure_id = current_setting('calendar_pipeline.erasure', true)
           AND EXISTS (SELECT FROM erasure WHERE id = NEW.erasure_id AND project_id = OLD.project_id)
           AND (OLD.project_id, OLD.seq, OLD.recorded_at, OLD.calendar_id, OLD.event_id, OLD.version, OLD.change,
                OLD.changed, OLD.is_deleted, OLD.sync_run_id)
               IS NOT DISTINCT FROM
               (NEW.project_id, NEW.seq, NEW.recorded_at, NEW.calendar_id, NEW.event_id, NEW.version, NEW.change,
                NEW.changed, NEW.is_deleted, NEW.sync_run_id)
        THEN
            RETURN NEW;
        END IF;
    ELSIF current_setting('calendar_pipeline.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'event_history is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
"""


def upgrade() -> None:
    """Add columns and a table, and let erasures through the append-only trigger."""
    op.execute(UPGRADE)
