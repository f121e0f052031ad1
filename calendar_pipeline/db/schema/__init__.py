"""The tables, a module for each stage. Migrations create them; a test compares the two.

Table names are singular; instants are ``timestamptz``; ids are made by the application.
"""

from calendar_pipeline.db.schema.analysts import analyst_view
from calendar_pipeline.db.schema.bots import bot, bot_event, bot_override, bot_position, bot_rules, bot_rules_review
from calendar_pipeline.db.schema.calendars import calendar, calendar_status, oauth_client
from calendar_pipeline.db.schema.channels import notification_channel
from calendar_pipeline.db.schema.columns import metadata
from calendar_pipeline.db.schema.connect import calendar_account, connect_state, oauth_application
from calendar_pipeline.db.schema.erasure import erasure
from calendar_pipeline.db.schema.history import EVENT_FIELDS, calendar_event, event_columns, event_history
from calendar_pipeline.db.schema.ingest import quarantined_event, sync_run
from calendar_pipeline.db.schema.live import live_run
from calendar_pipeline.db.schema.projects import api_key, feed_epoch, project, project_counter, webhook_secret
from calendar_pipeline.db.schema.service import audit_log, idempotency_key, rate_limit
from calendar_pipeline.db.schema.webhooks import webhook_attempt, webhook_delivery, webhook_subscription

__all__ = [
    "EVENT_FIELDS",
    "analyst_view",
    "api_key",
    "audit_log",
    "bot",
    "bot_event",
    "bot_override",
    "bot_position",
    "bot_rules",
    "bot_rules_review",
    "calendar",
    "calendar_account",
    "calendar_event",
    "calendar_status",
    "connect_state",
    "erasure",
    "event_columns",
    "event_history",
    "feed_epoch",
    "idempotency_key",
    "live_run",
    "metadata",
    "notification_channel",
    "oauth_application",
    "oauth_client",
    "project",
    "project_counter",
    "quarantined_event",
    "rate_limit",
    "sync_run",
    "webhook_attempt",
    "webhook_delivery",
    "webhook_secret",
    "webhook_subscription",
]
