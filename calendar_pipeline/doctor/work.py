"""The work: calendars, channels, the live path, bots, webhooks, API keys. What is late, and what nobody does."""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.bots import proof as bots
from calendar_pipeline.channels import health
from calendar_pipeline.channels import store as channels
from calendar_pipeline.doctor.finding import Clock, Finding, found
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import store as webhooks

LATE = timedelta(minutes=15)
"""Work that waits for longer is worth a look."""
SETTLED = timedelta(minutes=2)
"""A bot that has not followed its event for this long will not do so by itself."""
GONE = timedelta(minutes=3)
"""A live run that ended is followed by another within this time."""
SOON = timedelta(days=14)


def examine(settings: Settings, connection: Connection, clock: Clock) -> Iterator[Finding]:
    """All of it, from the database alone."""
    yield from _calendars(connection, clock)
    yield _channels(settings, connection, clock)
    yield _live(settings, connection)
    yield _bots(settings, connection, clock)
    yield from _webhooks(connection, clock)
    yield _keys(connection, clock)


def _calendars(connection: Connection, clock: Clock) -> Iterator[Finding]:
    row = connection.execute(
        sa.text("""
            SELECT count(*) AS all,
                   count(*) FILTER (WHERE state = 'disconnected') AS disconnected,
                   count(*) FILTER (WHERE failures > 0) AS failing,
                   count(*) FILTER (WHERE state = 'connected' AND next_sync_at < :late) AS late,
                   count(*) FILTER (WHERE state = 'connected' AND last_successful_sync_at IS NULL
                                      AND created_at < :late) AS never,
                   COALESCE(sum(quarantined), 0) AS quarantined
            FROM calendar
        """),
        {"late": clock() - LATE},
    ).one()
    text = f"{row.all} followed, {row.disconnected} disconnected, {row.failing} failing"
    if row.late:
        yield found("calendars", f"{text}, {row.late} overdue", "see that the Dagster daemon runs, and its queue")
    elif row.failing:
        yield found("calendars", text, "see the failed partitions of event_history in the Dagster UI")
    elif row.never:
        yield found("calendars", f"{text}, {row.never} never read", "see that sync_schedule and calendar_sensor are on")
    else:
        yield found("calendars", text)
    yield found(
        "quarantine",
        f"{row.quarantined} events set aside" if row.quarantined else "empty",
        "see table quarantined_event, and correct the events at the provider" if row.quarantined else None,
    )


def _channels(settings: Settings, connection: Connection, clock: Clock) -> Finding:
    if settings.public_base_url is None:
        return found("push channels", "none: PUBLIC_BASE_URL is not set, calendars are polled")
    stand = channels.overview(connection, now=clock())
    text = f"{stand.live} live, {stand.poll_only} calendars polled only"
    troubles = health.judge(stand, codes=channels.codes(connection))
    counts = ", ".join(f"{one.count} {one.kind}" for one in troubles)
    return found(
        "push channels", f"{text}, {counts}" if counts else text, " ".join(one.text for one in troubles) or None
    )


def _live(settings: Settings, connection: Connection) -> Finding:
    if not settings.live_runs:
        return found("live path", "off: LIVE_RUNS is 0")
    row = connection.execute(
        sa.text(
            "SELECT count(*) FILTER (WHERE state = 'working' AND beat_until > clock_timestamp()) AS working, "
            "COALESCE(max(beat_until) > clock_timestamp() - CAST(:gone AS interval), false) AS lately FROM live_run"
        ),
        {"gone": GONE},
    ).one()
    if row.working or row.lately:
        return found("live path", f"{row.working} runs at work")
    return found("live path", "no run at work", "see that live_sensor is on, and why runs of the job 'live' fail")


def _bots(settings: Settings, connection: Connection, clock: Clock) -> Finding:
    now = clock()
    strayed = bots.strayed(connection, before=now - SETTLED)
    slack = timedelta(seconds=settings.bot_late_alarm_seconds)
    late = [one for one in bots.late(connection, since=now, now=now, slack=slack) if one.is_waiting]
    if strayed or late:
        return found(
            "bots",
            f"{len(strayed)} have not followed their events, {len(late)} are overdue",
            "run 'calendar-pipeline bots run', and see that the live path or bot_sensor is on",
        )
    return found("bots", "all follow their events, none is overdue")


def _webhooks(connection: Connection, clock: Clock) -> Iterator[Finding]:
    """What waits, held and throttled deliveries included; what was lost in a day; who was given up."""
    now = clock()
    state = webhooks.state(connection, since=now - timedelta(days=1))
    age = now - state.due_since if state.due_since else timedelta()
    text = f"{state.pending} wait, {state.held} of them held"
    if state.pending:
        text += f", the oldest for {age.total_seconds() / 60:.0f} min"
    if state.abandoned:
        text += f", {state.abandoned} left behind by dead workers"
        yield found("webhooks", text, "see that the live path or webhook_sensor is on")
    elif age > LATE:
        yield found("webhooks", text, "'calendar-pipeline webhooks list' shows whose endpoints fail")
    else:
        yield found("webhooks", text)
    given_up = sum(count for reason, count in state.disabled.items() if reason != "operator")
    text = f"{state.endpoints} in all, {sum(state.disabled.values())} disabled, {state.failing} failing"
    if given_up:
        again = "tell their owners; when they are back, 'calendar-pipeline webhooks enable'"
        yield found("webhook endpoints", f"{text}, {given_up} given up", again)
    else:
        yield found("webhook endpoints", text)
    yield found(
        "webhook losses",
        f"{state.dead} given up and {state.rejected} not signable in the last day",
        "'calendar-pipeline webhooks recover' sends again what an endpoint missed"
        if state.dead or state.rejected
        else None,
    )


def _keys(connection: Connection, clock: Clock) -> Finding:
    row = connection.execute(
        sa.text(
            "SELECT count(*) FILTER (WHERE revoked_at IS NULL) AS all, count(*) FILTER (WHERE revoked_at IS NULL "
            "AND expires_at > :now AND expires_at < :soon) AS ending FROM api_key"
        ),
        {"now": clock(), "soon": clock() + SOON},
    ).one()
    return found(
        "API keys",
        f"{row.all} in use" + (f", {row.ending} end within {SOON.days} days" if row.ending else ""),
        "make new ones: 'calendar-pipeline project keys create'" if row.ending else None,
    )
