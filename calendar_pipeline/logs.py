"""Structured logs: with LOG_FORMAT=json each line is one JSON object, with the ids of what it is about.

A line never holds a secret, an address or a provider's text: what looks like one is struck out, and of an error only
its kind and its places are told, since its message may quote what it was given.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from calendar_pipeline.settings import Settings

_ABOUT: ContextVar[Mapping[str, str] | None] = ContextVar("about", default=None)

STRUCK = "[struck out]"
_SECRET = re.compile(
    r"""ya29\.[\w.-]+ | \b1//[\w-]+ | \beyJ[\w-]+\.[\w.-]* | \bwhsec_[\w+/=-]+ | \bcp_live_\w+
    | \bbearer\s+\S+ | \btoken\s+\S{20,}
    | (?<=[?&\s"'])(?:code|state|refresh_token|access_token|client_secret|password)=[^&\s"']+
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+""",
    re.VERBOSE | re.IGNORECASE,
)


@contextmanager
def about(
    *, request_id: str | None = None, run_id: str | None = None, calendar_id: str | None = None
) -> Generator[None]:
    """Every line within is about these, besides what it was about already."""
    given = {"request_id": request_id, "run_id": run_id, "calendar_id": calendar_id}
    token = _ABOUT.set({**(_ABOUT.get() or {}), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def scrub(text: str) -> str:
    """The text without what looks like a secret or an address."""
    return _SECRET.sub(STRUCK, text)


class Json(logging.Formatter):
    """One line of JSON: when, how grave, from where, what, about what."""

    def format(self, record: logging.LogRecord) -> str:
        """Of this record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **(_ABOUT.get() or {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__qualname__
            line["places"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line, ensure_ascii=False)


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """What this process logs, from now on. With LOG_FORMAT=text it is left as it is."""
    if settings.log_format == "text":
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
