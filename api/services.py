"""What every request needs, built once when the application starts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from litestar.connection import ASGIConnection

from api.limits import Limits
from api.metrics import Metrics
from calendar_pipeline.connect.run import Connector
from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings

STATE = "services"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The application's dependencies."""

    settings: Settings
    db: Database
    keyring: KeyRing
    clock: Callable[[], datetime]
    connector: Connector
    limits: Limits
    metrics: Metrics = field(default_factory=Metrics)
    keyring_was_given: bool = False
    """The key ring was handed in, so the settings need not have one."""


def of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """The services of the application that serves `connection`."""
    return cast(Services, connection.app.state[STATE])
