"""``/metrics``: for Prometheus, behind a bearer token of its own. Without METRICS_TOKEN there is no such page."""

import hmac
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from api import methods, problems, services
from calendar_pipeline.bots import proof as bots
from calendar_pipeline.channels import store as channels
from calendar_pipeline.freshness import store as freshness
from calendar_pipeline.webhooks import store as webhooks

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WINDOW = timedelta(minutes=15)
DAY = timedelta(days=1)


@get(PATH, sync_to_thread=True)
def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What this process counts, and what the database says of all of them together."""
    service = services.of(request)
    wanted = service.settings.metrics_token
    if wanted is None:
        raise problems.error(404, "Not found")
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(
        given.strip().encode(errors="replace"), wanted.get_secret_value().encode()
    ):
        raise problems.detail(401, "Send the METRICS_TOKEN as a bearer token.", headers={"WWW-Authenticate": "Bearer"})
    now = service.clock()
    with service.db.single() as conn:
        legs = freshness.measured(conn, since=now - WINDOW)
        stands = channels.overview(conn, now=now)
        waits = freshness.backlog(conn, now=now)
        fleet = freshness.fleet(conn, now=now)
        ended = freshness.ended(conn, since=now - WINDOW)
        outbox = webhooks.state(conn, since=now - DAY)
        bots_due, _ = bots.waiting(conn, now=now)
    registry = CollectorRegistry()
    _gauges(registry, legs, stands, waits)
    _work(registry, fleet, ended)
    _single(
        registry,
        {
            "webhooks_pending": ("Deliveries that wait, held ones included.", outbox.pending),
            "webhooks_held": ("Deliveries held for endpoints that were given up.", outbox.held),
            "webhooks_oldest_seconds": (
                "Age of the oldest delivery that waits.",
                (now - outbox.due_since).total_seconds() if outbox.due_since else 0.0,
            ),
            "webhooks_lost": ("Deliveries given up or not signable in the last day.", outbox.dead + outbox.rejected),
            "webhook_endpoints_disabled": ("Endpoints that are switched off.", sum(outbox.disabled.values())),
            "bots_due": ("Bots that are due now.", bots_due),
        },
    )
    text = generate_latest(service.metrics.registry) + generate_latest(registry)
    return Response(content=text, media_type=CONTENT_TYPE)


def _single(registry: CollectorRegistry, told: Mapping[str, tuple[str, float]]) -> None:
    for name, (text, value) in told.items():
        Gauge(f"calendar_pipeline_{name}", text, registry=registry).set(value)


def _work(registry: CollectorRegistry, fleet: freshness.Fleet, ended: list[freshness.Ended]) -> None:
    """Calendars by state, and what the syncs of the last 15 minutes came to."""
    calendars = Gauge(
        "calendar_pipeline_calendars", "Calendars by state; one may be in several.", ("state",), registry=registry
    )
    for state, count in asdict(fleet).items():
        calendars.labels(state).set(count)
    kinds = ("platform", "outcome")
    syncs = Gauge("calendar_pipeline_syncs", "Syncs of the last 15 minutes.", kinds, registry=registry)
    asked = Gauge(
        "calendar_pipeline_provider_requests",
        "Requests to providers in the syncs of the last 15 minutes.",
        kinds,
        registry=registry,
    )
    for one in ended:
        syncs.labels(one.platform, one.outcome).set(one.syncs)
        asked.labels(one.platform, one.outcome).set(one.requests)


def _gauges(
    registry: CollectorRegistry, legs: list[freshness.Measured], stands: channels.Overview, waits: freshness.Backlog
) -> None:
    """Gauges of one moment. Labels are our own words."""
    seconds = Gauge(
        "calendar_pipeline_freshness_seconds",
        "From a change by the provider's clock until it was pushed, visible, told by webhook; last 15 minutes.",
        ("platform", "leg", "quantile"),
        registry=registry,
    )
    changes = Gauge(
        "calendar_pipeline_freshness_changes",
        "Changes measured in the last 15 minutes.",
        ("platform", "leg"),
        registry=registry,
    )
    for one in legs:
        changes.labels(one.platform, one.leg).set(one.changes)
        for quantile, value in (("0.5", one.p50), ("0.95", one.p95), ("1", one.longest)):
            seconds.labels(one.platform, one.leg, quantile).set(value)
    states = Gauge("calendar_pipeline_channels", "Push channels by how they fare.", ("condition",), registry=registry)
    for condition, count in stands.counts().items():
        states.labels(condition).set(count)
    for name, text, value in (
        ("calendar_pipeline_syncs_waiting", "Calendars with a sync asked for.", waits.asked),
        ("calendar_pipeline_live_runs", "Live runs at work.", waits.live_runs),
        ("calendar_pipeline_push_misses", "Polls that found what push had not told, ever.", waits.misses),
    ):
        Gauge(name, text, registry=registry).set(value)


HANDLERS = [methods.others(PATH, methods.READ_ONLY), metrics]
