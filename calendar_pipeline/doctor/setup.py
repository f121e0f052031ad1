"""The settings against each other: what would not work, or not for long."""

from collections.abc import Iterator

from calendar_pipeline import wiring
from calendar_pipeline.doctor.finding import Finding, found
from calendar_pipeline.errors import SetupError
from calendar_pipeline.settings import UP_NOTE, Settings

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what is warned of


def examine(settings: Settings) -> Iterator[Finding]:
    """All that can be said without asking anybody."""
    yield _timeouts(settings)
    yield _runner(settings)
    yield _exposure(settings)


def _timeouts(settings: Settings) -> Finding:
    """A lease that ends before its work may end lets another worker begin the same."""
    is_short = settings.webhook_lease_seconds < 2 * settings.webhook_timeout_seconds
    return found(
        "time-outs",
        "a lease may end before its work" if is_short else "leases outlast what they cover",
        "WEBHOOK_LEASE_SECONDS must be 2 times WEBHOOK_TIMEOUT_SECONDS or more" if is_short else None,
    )


def _runner(settings: Settings) -> Finding:
    try:
        wiring.runner(settings)
    except SetupError as refusal:
        return found("bot runner", "is not set up", str(refusal), broken=True)
    return found("bot runner", settings.bot_runner)


def _exposure(settings: Settings) -> Finding:
    """What a production must not show to the world."""
    if settings.environment != "production":
        return found("exposure", "development: not checked")
    do: list[str] = []
    if settings.dagster_host in ANYWHERE:
        do.append("bind DAGSTER_HOST to 127.0.0.1 behind your own sign-in: the Dagster UI has none")
    if settings.public_base_url is None or not settings.public_base_url.startswith("https://"):
        do.append("set PUBLIC_BASE_URL to the https address of the proxy before the API")
    if settings.webhook_allow_http or settings.webhook_allowed_networks:
        do.append("unset WEBHOOK_ALLOW_HTTP and WEBHOOK_ALLOWED_NETWORKS: customers' addresses may lead inside")
    if (settings.state_dir / UP_NOTE).exists():
        do.append(f"delete {UP_NOTE} from STATE_DIR: it is of a development's `up`")
    return found("exposure", f"{len(do)} things to change" if do else "as it should be", "; ".join(do) or None)
