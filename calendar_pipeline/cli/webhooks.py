"""Webhooks from the command line: ``webhooks …``. For operators: it sees every project."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.errors import SetupError
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks.model import DeliveryStatus, Subscription

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

app = typer.Typer(no_args_is_help=True, help="Who is told of what, what became of it, and sending it again.")

Webhook = Annotated[str, typer.Argument(help="The webhook's id.")]


@app.command("create")
def create(
    project: Annotated[str, typer.Argument(help="The project's id.")],
    url: Annotated[str, typer.Argument(help="Where to send.")],
    trigger: Annotated[
        list[str] | None, typer.Option(help="What to tell; repeat for more. Both of calendars unless said.")
    ] = None,
    own_secret: Annotated[bool, typer.Option(help="Sign with a secret of its own, shown once.")] = False,
) -> None:
    """Tell an endpoint of events from now on."""
    from calendar_pipeline.projects import model as projects
    from calendar_pipeline.projects import store as stored
    from calendar_pipeline.secrets import keyfile
    from calendar_pipeline.webhooks import address, client, subscriptions
    from calendar_pipeline.webhooks.address import Refused
    from calendar_pipeline.webhooks.model import DISABLED, TRIGGERS, NewSubscription

    settings = Settings.load()
    triggers = trigger or ["calendar.events_update", "calendar.state_change"]
    if unknown := set(triggers) - {*TRIGGERS, DISABLED}:
        raise SetupError(
            f"No such trigger: {', '.join(sorted(unknown))}. There are: {', '.join((*TRIGGERS, DISABLED))}."
        )
    policy = address.policy(
        http=settings.webhook_allow_http, networks=settings.webhook_allowed_networks, ports=settings.webhook_ports
    )
    try:
        client.examine(url, policy)
    except Refused as refusal:
        raise SetupError(f"{refusal} See WEBHOOK_ALLOW_HTTP, WEBHOOK_ALLOWED_NETWORKS and WEBHOOK_PORTS.") from None
    secret = projects.new_signing_secret() if own_secret else None
    with _connection(settings) as connection:
        stored.require(connection, project)
        new = NewSubscription(url=url, triggers=triggers, secret=secret)
        [made] = subscriptions.create(connection, keyfile.load(settings), project, [new], now=datetime.now(UTC))
    out.print(f"webhook         {made.id}", highlight=False)
    if secret is not None:
        out.print(f"signing secret  {secret}\nIt is not shown again.", highlight=False)


@app.command("list")
def show() -> None:
    """Every project's endpoints, and how they fare."""
    from calendar_pipeline.webhooks import subscriptions

    with _connection() as connection:
        rows = subscriptions.everyone(connection)
    table = Table("webhook", "project", "url", "state", "failures", "since")
    for row in rows:
        state = f"disabled: {row.disabled_reason}" if row.disabled_at else "failing" if row.failures else "enabled"
        since = row.disabled_at or row.failing_since
        table.add_row(row.id, row.project_id, row.url, state, str(row.failures), f"{since:%F %T}" if since else "")
    out.print(table)


@app.command("deliveries")
def deliveries(
    webhook: Webhook,
    status: Annotated[str | None, typer.Option(help="pending, held, delivered, dead or rejected")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 25,
) -> None:
    """An endpoint's deliveries, newest first."""
    from typing import cast, get_args

    from calendar_pipeline.webhooks import log

    if status is not None and status not in get_args(DeliveryStatus):
        raise SetupError(f"--status is one of {', '.join(get_args(DeliveryStatus))}.")
    with _connection() as connection:
        owner = _owner(connection, webhook)
        page = log.page(
            connection,
            owner.project_id,
            size=limit,
            subscription=webhook,
            status=cast(DeliveryStatus | None, status),
        )
    table = Table("delivery", "trigger", "written", "status", "attempts", "last answer", "next attempt")
    for row in page.rows:
        answer = row.last_error or (str(row.last_status) if row.last_status else "")
        following = f"{row.next_attempt_at:%F %T}" if row.next_attempt_at else ""
        table.add_row(row.id, row.trigger, f"{row.created_at:%F %T}", row.status, str(row.attempts), answer, following)
    out.print(table)


@app.command("enable")
def enable(webhook: Webhook) -> None:
    """Start anew with an endpoint that was given up; what was held is due at once."""
    _set_enabled(webhook, enabled=True)


@app.command("disable")
def disable(webhook: Webhook) -> None:
    """Send an endpoint nothing; what is due to it is held."""
    _set_enabled(webhook, enabled=False)


@app.command("rotate-secret")
def rotate(webhook: Webhook, overlap_hours: Annotated[int, typer.Option(min=0, max=168)] = 24) -> None:
    """Give an endpoint a new secret of its own; the one so far signs as well for a while."""
    from calendar_pipeline.secrets import keyfile
    from calendar_pipeline.webhooks import subscriptions

    settings = Settings.load()
    with _connection(settings) as connection:
        owner = _owner(connection, webhook)
        secret = subscriptions.rotate(
            connection,
            keyfile.load(settings),
            owner.project_id,
            webhook,
            now=datetime.now(UTC),
            overlap=timedelta(hours=overlap_hours),
        )
    out.print(f"signing secret  {secret}\nIt is not shown again.", highlight=False)


@app.command("recover")
def recover(
    webhook: Webhook, since: Annotated[datetime, typer.Option(help="UTC, such as 2026-11-25T08:00:00.")]
) -> None:
    """Send again all that an endpoint missed since an instant."""
    from calendar_pipeline.webhooks import log

    with _connection() as connection:
        owner = _owner(connection, webhook)
        count = log.recover(
            connection, owner.project_id, webhook, since=since.replace(tzinfo=UTC), now=datetime.now(UTC)
        )
    out.print(f"{count} deliveries are due now.", highlight=False)


@app.command("test")
def test(webhook: Webhook) -> None:
    """Send an endpoint a test event."""
    from calendar_pipeline.webhooks import log

    with _connection() as connection:
        owner = _owner(connection, webhook)
        made = log.test(connection, owner.project_id, webhook, now=datetime.now(UTC))
    out.print(f"delivery        {made}", highlight=False)


@app.command("deliver")
def deliver(
    linger: Annotated[float, typer.Option(help="Seconds to wait for more when nothing is due.")] = 0.0,
) -> None:
    """Deliver what is due, as Dagster's job does; any number of these may run at once."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate
    from calendar_pipeline.webhooks import run

    settings = Settings.load()
    with wiring.database(settings, connections=4) as db:
        migrate.check(db)
        done = run.deliver(wiring.dispatch(settings, db), linger=timedelta(seconds=linger))
    out.print(f"{done.delivered} delivered, {done.failed} attempts failed, {done.dead} given up", highlight=False)


def _set_enabled(webhook: str, *, enabled: bool) -> None:
    from calendar_pipeline.webhooks import subscriptions
    from calendar_pipeline.webhooks.model import SubscriptionPatch

    with _connection() as connection:
        owner = _owner(connection, webhook)
        change = SubscriptionPatch(enabled=enabled)
        subscriptions.patch(connection, owner.project_id, webhook, change, now=datetime.now(UTC))
    out.print("enabled" if enabled else "disabled")


def _owner(connection: "Connection", webhook: str) -> Subscription:
    from calendar_pipeline.webhooks import subscriptions

    for row in subscriptions.everyone(connection):
        if row.id == webhook:
            return row
    raise SetupError(f"There is no webhook {webhook}: 'calendar-pipeline webhooks list' shows which there are.")


@contextmanager
def _connection(settings: Settings | None = None) -> "Generator[Connection]":
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate

    with wiring.database(settings or Settings.load(), connections=2) as db:
        migrate.check(db)
        with db.begin() as connection:
            yield connection
