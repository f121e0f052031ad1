"""What Notetaker must be told, from the environment."""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where everything is, and who we are there."""

    api_url: str
    """Calendar Pipeline's API, with ``/api/v1``."""
    api_key: str = field(repr=False)
    webhook_secret: bytes = field(repr=False)
    base_url: str
    """Where browsers reach Notetaker."""
    database: Path
    poll_seconds: float = 30.0
    """How often everything is read anew even if no webhook comes."""

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """From ``NOTETAKER_…`` variables; raises KeyError or ValueError naming one that is missing or wrong."""
        try:
            secret = base64.b64decode(environment["NOTETAKER_WEBHOOK_SECRET"], validate=True)
        except binascii.Error:
            raise ValueError("NOTETAKER_WEBHOOK_SECRET") from None
        return cls(
            api_url=environment["NOTETAKER_API_URL"].rstrip("/"),
            api_key=environment["NOTETAKER_API_KEY"],
            webhook_secret=secret,
            base_url=environment.get("NOTETAKER_BASE_URL", "http://127.0.0.1:8100").rstrip("/"),
            database=Path(environment.get("NOTETAKER_DATABASE", "notetaker.sqlite3")),
            poll_seconds=float(environment.get("NOTETAKER_POLL_SECONDS", "30")),
        )
