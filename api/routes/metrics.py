"""``/metrics``: for Prometheus, behind a bearer token of its own. Without METRICS_TOKEN there is no such page."""

import hmac
from datetime import timedelta
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from api import methods, problems, services
from calendar_pipeline.channels import store as channels
from calendar_pipeline.freshness import store as freshness

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
WINDOW = timedelta(minutes=15)


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
    text = generate_latest(service.metrics.registry) + generate_latest(_gauges(legs, stands, waits))
    return Response(content=text, media_type=CONTENT_TYPE)


def _gauges(legs: list[freshness.Measured], stands: channels.Overview, waits: freshness.Backlog) -> CollectorRegistry:
    """Gauges of one moment. Labels are our own words."""
    registry = CollectorRegistry()
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
    return registry


HANDLERS = [methods.others(PATH, methods.READ_ONLY), metrics]
