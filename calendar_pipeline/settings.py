"""All that can be set, from the environment or a ``.env`` file. Nothing else of the pipeline reads the environment.

``.env.example`` lists every setting with its default; a test compares the two.
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

UP_NOTE = "up.env"
"""File in the state directory where `up` notes its ports and provider addresses."""


class Settings(BaseSettings):
    """One value per environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    environment: Literal["development", "production"] = Field(
        "development", description="production refuses to start without DATABASE_URL and CALENDAR_PIPELINE_KEYS"
    )
    state_dir: Path = Field(
        default=Path(".calendar-pipeline"), description="embedded PostgreSQL, first key, process logs"
    )
    database_url: SecretStr | None = Field(default=None, description="empty: an embedded PostgreSQL in STATE_DIR")
    dagster_postgres_url: SecretStr | None = Field(
        None, description="Dagster's storage; empty: database 'dagster' on the same server"
    )
    calendar_pipeline_keys: SecretStr | None = Field(
        None, description="key ring kid:base64[,kid:base64]; the first encrypts, all decrypt"
    )

    api_host: str = Field(default="127.0.0.1", description="address the API listens on")
    api_port: int = Field(default=8000, ge=0, le=65535, description="port the API listens on")
    project_posts_per_minute: int = Field(
        default=3000,
        ge=1,
        description="POSTs to /calendars and /bots of one project, over all API processes; as many to /connect_links",
    )
    api_key_requests_per_minute: int = Field(
        default=30_000, ge=1, description="requests with one API key, for each API process"
    )
    api_stranger_requests_per_minute: int = Field(
        default=600, ge=1, description="requests without a good API key from one address, for each API process"
    )
    connect_visits_per_minute: int = Field(
        default=120, ge=1, description="visits of hosted connect's pages from one address, for each API process"
    )
    dagster_host: str = Field(default="127.0.0.1", description="address the Dagster UI listens on")
    dagster_port: int = Field(default=3000, ge=0, le=65535, description="port the Dagster UI listens on")
    sandbox_host: str = Field(default="127.0.0.1", description="address the provider sandbox listens on")
    sandbox_port: int = Field(default=8090, ge=0, le=65535, description="port the provider sandbox listens on")

    google_api_base_url: str = Field(default="https://www.googleapis.com", description="root of Google's APIs")
    google_token_url: str = Field(default="https://oauth2.googleapis.com/token", description="Google's token endpoint")
    google_authorize_url: str = Field(
        default="https://accounts.google.com/o/oauth2/v2/auth", description="where Google asks a person for consent"
    )
    microsoft_login_base_url: str = Field(
        default="https://login.microsoftonline.com", description="root of Entra ID; national clouds have their own"
    )
    microsoft_tenant: str = Field(default="common", description="common, organizations, consumers, or a tenant's id")
    microsoft_graph_base_url: str = Field(
        default="https://graph.microsoft.com", description="root of Microsoft Graph; national clouds have their own"
    )
    provider_timeout_seconds: float = Field(
        default=30.0, gt=0, description="one provider request, connect and read each"
    )

    provider_requests_per_minute: int = Field(
        default=10_000, ge=1, description="requests in one OAuth client's name; the client's own quota at the provider"
    )

    sync_interval_minutes: int = Field(default=30, ge=5, description="age at which a calendar is due again")
    sync_batch_size: int = Field(default=1000, ge=1, le=25_000, description="calendars in one Dagster run")
    sync_threads: int = Field(default=8, ge=1, le=64, description="calendars read at once in one run")
    sync_lease_seconds: int = Field(
        default=300, ge=1, description="how long a dead worker keeps a calendar from others"
    )
    held_buffer_days: int = Field(default=8, ge=2, description="days held beyond the visible window, between listings")

    public_base_url: str | None = Field(
        default=None,
        description="https address by which browsers and providers reach the API; empty: this machine alone, no push",
    )
    push_window_seconds: float = Field(
        default=3.0, ge=0, description="least time between two syncs of one calendar that notifications ask for"
    )
    safety_poll_minutes: int = Field(
        default=360, ge=5, description="age at which a calendar is due again whose notifications can be relied on"
    )
    live_runs: int = Field(default=1, ge=0, le=16, description="runs of the live path at work at once; 0: none")
    live_standby: int = Field(
        default=1, ge=0, le=16, description="runs of the live path that wait, warm, to take the place of one that dies"
    )
    live_lifetime_minutes: float = Field(
        default=25.0, gt=0, description="how long a run of the live path works before its successor takes over"
    )
    live_poll_seconds: float = Field(default=0.2, gt=0, le=10, description="how often the live path looks for work")
    freshness_alarm_seconds: float = Field(
        default=60.0,
        gt=0,
        description="changes seen later than this turn the check 'seen_in_time' yellow if 5 in 100 are",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="json: one object a line, with run, calendar and request ids"
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="bearer token that GET /metrics asks for; empty: there is no such page"
    )

    bot_runner: Literal["webhook", "attendee"] = Field(
        default="webhook",
        description="who runs bots: the customer, told by bot.state_change; or an Attendee-compatible server",
    )
    bot_runner_url: str | None = Field(default=None, description="root of the server that runs bots")
    bot_runner_api_key: SecretStr | None = Field(default=None, description="API key for BOT_RUNNER_URL")
    bot_runner_timeout_seconds: float = Field(default=10.0, gt=0, description="one request to the runner")
    bot_runner_webhook_secret: SecretStr | None = Field(
        default=None,
        description="base64 secret that signs the runner's webhooks; empty: their path alone decides",
    )
    bot_lead_minutes: float = Field(default=5.0, ge=0, description="how long before its time a bot is staged")
    bot_handover_seconds: float = Field(
        default=0.0, ge=0, description="how long before its time a bot is handed to the runner, with the time"
    )
    bot_patience_minutes: float = Field(
        default=30.0, gt=0, description="how long after its time a bot is still launched if no end is known"
    )
    bot_follow_declines: bool = Field(
        default=False, description="an event that the calendar's owner declined takes its bots away"
    )
    bot_threads: int = Field(default=16, ge=1, le=64, description="bots handed over at once in one run")
    bot_lease_seconds: float = Field(default=15.0, gt=0, description="how long a dead worker keeps a bot from others")
    bot_linger_seconds: float = Field(
        default=50.0, ge=0, description="how long a run waits for more bots to fall due before it ends"
    )
    bot_late_alarm_seconds: float = Field(
        default=30.0, gt=0, description="a bot handed over later than this turns the check 'no_late_launch' red"
    )

    sync_run_retention_days: int = Field(
        default=90, ge=7, le=36_500, description="age at which records of syncs are removed"
    )
    dagster_retention_days: int = Field(
        default=14, ge=1, le=36_500, description="age at which ended Dagster runs and their events are removed"
    )
    export_url: str = Field(
        default="", description="where Parquet is written daily: a folder or object store; empty: nowhere"
    )

    meeting_hosts: str = Field(default="", description="more hosts whose links are meetings, comma-separated")
    max_metadata_length: int = Field(default=1000, ge=1, description="longest metadata object, as JSON text")
    require_string_values_in_metadata: bool = Field(
        default=True, description="refuse metadata values that are not strings"
    )

    @field_validator("public_base_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        """Providers take https only; the sandbox, on this machine, http as well."""
        if value is None:
            return None
        address = urlsplit(value)
        local = address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost", "::1")
        if not address.hostname or not (address.scheme == "https" or local) or address.query or address.fragment:
            raise ValueError("PUBLIC_BASE_URL must be an https address, such as https://calendars.example.com")
        return value.rstrip("/")

    webhook_allow_http: bool = Field(
        default=False, description="let webhooks go to http:// URLs; for development and tests"
    )
    webhook_allowed_networks: str = Field(
        default="", description="networks that webhooks may go to though they are not public, comma-separated CIDRs"
    )
    webhook_ports: str = Field(default="443", description="ports that webhooks may go to, comma-separated, or any")
    webhook_timeout_seconds: float = Field(
        default=15.0, gt=0, description="one attempt as a whole: look-up, connection, TLS and answer"
    )
    webhook_lease_seconds: int = Field(
        default=60, ge=1, description="how long a dead worker keeps a delivery from others; twice the timeout or more"
    )
    webhook_slots: int = Field(default=256, ge=1, le=4096, description="webhook requests at once in one worker")
    webhook_linger_seconds: float = Field(
        default=60.0, ge=0, description="how long a Dagster run waits for more to deliver before it ends"
    )
    webhook_body_days: int = Field(default=30, ge=1, le=36_500, description="days that bodies of webhooks are kept")
    webhook_log_days: int = Field(
        default=90, ge=1, le=36_500, description="days that deliveries are listed without their bodies"
    )

    @classmethod
    def load(cls, **given: object) -> "Settings":
        """The settings in force: `given`, then the environment, then ``.env``, then what `up` noted when it started.

        With the note a command in another terminal meets the same ports and providers as `up`. Production has none.
        """
        plain = cls(**given)  # pyright: ignore[reportArgumentType]
        if plain.environment == "production":
            return plain
        files = (plain.state_dir / UP_NOTE, ".env")
        return cls(_env_file=files, **given)  # pyright: ignore[reportArgumentType, reportCallIssue]

    @property
    def sync_interval(self) -> timedelta:
        """Age at which a calendar is due again."""
        return timedelta(minutes=self.sync_interval_minutes)

    @property
    def safety_poll(self) -> timedelta:
        """Age at which a calendar with reliable push is due again: never sooner than one without."""
        return max(timedelta(minutes=self.safety_poll_minutes), self.sync_interval)

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers."""
        return f"http://{self.sandbox_host}:{self.sandbox_port}"

    @property
    def public_url(self) -> str:
        """Where browsers reach the API, without a slash at the end."""
        return self.public_base_url or f"http://{self.api_host}:{self.api_port}"

    @property
    def extra_meeting_hosts(self) -> tuple[str, ...]:
        """`meeting_hosts` as a tuple."""
        return tuple(host.strip() for host in self.meeting_hosts.split(",") if host.strip())
