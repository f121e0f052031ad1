"""What analysts read: views and functions over the tables, every column explained. Code is their one source.

They hold no data, so no migration describes them: `make.everything` brings a database's to those of this code.
"""

from collections.abc import Sequence

from calendar_pipeline.db.analysts import bots, days, events, meetings, syncs, webhooks
from calendar_pipeline.db.analysts.view import AsOf, View

VIEWS: Sequence[View] = (
    events.VERSION,
    meetings.MEETING,
    days.CALENDAR_DAY,
    syncs.SYNC_QUALITY,
    bots.BOT_OUTCOME,
    webhooks.WEBHOOK_QUALITY,
)
"""In the order in which they are made."""

FUNCTIONS: Sequence[AsOf] = (events.AS_OF,)

__all__ = ["FUNCTIONS", "VIEWS", "AsOf", "View"]
