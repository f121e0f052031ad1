"""What the UI says of each asset besides its description: who looks after it, its columns, and where to read on.

Columns come from the tables themselves, where each is explained once. An asset that has no entry here fails to load.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from calendar_pipeline.db import explained, schema
from calendar_pipeline.settings import Settings

OPERATORS = "team:operators"
ANALYSTS = "team:analysts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One asset's place in the catalogue."""

    columns: explained.Columns
    relation: str
    """Where its rows stand."""
    guide: str
    """The chapter that explains it."""
    alarms: str = "docs/operate/runbook.md#red-and-yellow-checks"
    """What to do when a check of it is red."""
    api: str | None = None
    """The path at which applications read the same."""
    owner: str = OPERATORS


CATALOGUE: Mapping[str, Entry] = {
    "provider_events": Entry(
        columns=explained.table(schema.event_history, *schema.EVENT_FIELDS),
        relation="calendar_event",
        guide="docs/architecture.md#what-is-read",
        api="/api/v1/calendar_events",
    ),
    "event_history": Entry(
        columns=explained.table(schema.event_history),
        relation="event_history",
        guide="docs/analyse.md#event_history",
        api="/api/v1/event_changes",
        owner=ANALYSTS,
    ),
    "sync_cycle": Entry(
        columns=explained.table(schema.sync_run),
        relation="sync_run",
        guide="docs/operate.md#dagster",
    ),
    "notification_channels": Entry(
        columns=explained.table(schema.notification_channel),
        relation="notification_channel",
        guide="docs/live.md#push-channels",
    ),
    "live_path": Entry(columns=explained.table(schema.live_run), relation="live_run", guide="docs/live.md#live-runs"),
    "bots": Entry(
        columns=explained.table(schema.bot), relation="bot", guide="docs/consume/bots.md#operating", api="/api/v1/bots"
    ),
    "webhook_deliveries": Entry(
        columns=explained.table(schema.webhook_delivery),
        relation="webhook_delivery",
        guide="docs/webhooks.md#for-operators",
        api="/api/v1/webhooks",
    ),
    "history_export": Entry(
        columns=explained.view("event_version"),
        relation="event_version",
        guide="docs/analyse.md#parquet",
        owner=ANALYSTS,
    ),
    "history_retention": Entry(
        columns=explained.table(schema.event_history),
        relation="event_history",
        guide="docs/operate.md#erasure-and-retention",
    ),
}


def described(assets: Iterable[Any], settings: Settings) -> list[Any]:
    """The assets with all that is known of them."""
    return list(dg.map_asset_specs(lambda spec: _described(spec, settings), assets))


def _described(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    entry = CATALOGUE[spec.key.to_user_string()]
    columns = [
        dg.TableColumn(name, type=kind or "as in the table", description=meaning)
        for name, (kind, meaning) in entry.columns.items()
    ]
    links: dict[str, dg.MetadataValue] = {
        "guide": dg.MetadataValue.path(entry.guide),
        "when_red": dg.MetadataValue.path(entry.alarms),
    }
    if entry.api:
        links["api"] = dg.MetadataValue.url(f"{settings.public_url}{entry.api}")
        links["api_reference"] = dg.MetadataValue.url(f"{settings.public_url}/docs")
    return spec.replace_attributes(
        owners=[entry.owner],
        metadata={
            **spec.metadata,
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/table_name": entry.relation,
            **links,
        },
    )
