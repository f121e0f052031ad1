"""Rules that make bots: a project's rules, what they are to judge, what people said of single events."""

from alembic import op

revision = "0013"
down_revision = "0012"

UPGRADE = """
ALTER TABLE bot ADD COLUMN unwanted_because text;
COMMENT ON COLUMN bot.unwanted_because IS 'why the rules do not want the bot that they made; null: they do';

CREATE TABLE bot_rules (
    project_id text PRIMARY KEY REFERENCES project ON DELETE CASCADE,
    rules json,
    settings bytea,
    seq bigint NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE bot_rules IS 'Rules by which a project''s bots are made. A project without rules has no row.';
COMMENT ON COLUMN bot_rules.rules IS 'which meetings get a bot, per project and per calendar; null: none';
COMMENT ON COLUMN bot_rules.settings IS 'sealed JSON: what the bots are made with; may hold stream keys';
COMMENT ON COLUMN bot_rules.seq IS 'history judged up to here';

CREATE TABLE bot_rules_review (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text NOT NULL REFERENCES project ON DELETE CASCADE,
    calendar_id text,
    event_id text,
    after_end timestamptz,
    after_id text NOT NULL DEFAULT ''
);
CREATE INDEX ix_bot_rules_review_project ON bot_rules_review (project_id, id);
COMMENT ON TABLE bot_rules_review IS
    'Upcoming events to be judged again: rules, a calendar''s state or an override changed.';
COMMENT ON COLUMN bot_rules_review.calendar_id IS 'of this calendar alone';
COMMENT ON COLUMN bot_rules_review.event_id IS 'this event alone';
COMMENT ON COLUMN bot_rules_review.after_end IS 'events are judged in order of their ends; up to here they are';

CREATE TABLE bot_override (
    event_id text PRIMARY KEY REFERENCES calendar_event ON DELETE CASCADE,
    is_wanted boolean NOT NULL,
    at timestamptz NOT NULL
);
COMMENT ON TABLE bot_override IS 'Events for which somebody said whether a bot joins.';
COMMENT ON COLUMN bot_override.is_wanted IS 'a person''s yes or no, which goes before the rules';

CREATE INDEX ix_calendar_event_uid ON calendar_event (project_id, ical_uid, original_starts_at);
CREATE INDEX ix_calendar_event_link ON calendar_event (project_id, meeting_key, starts_at)
    WHERE meeting_key IS NOT NULL;
"""


def upgrade() -> None:
    """Add tables, a column, and the indexes that find one meeting in many calendars."""
    op.execute(UPGRADE)
