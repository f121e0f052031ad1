"""The machine and the way to it: disk, the public address with its certificate, providers and their clocks."""

import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3

from calendar_pipeline.doctor.finding import Clock, Finding, found
from calendar_pipeline.settings import Settings

LEAST_FREE = 2 * 1024**3
LEAST_PART = 0.1
SKEW = timedelta(seconds=30)
"""Tokens and signatures are good for minutes; a clock that is off by more breaks them."""
SECONDS = 5.0
DAYS_LEFT = 14


class Usage(Protocol):
    """How full a disk is, in bytes."""

    @property
    def free(self) -> int:
        """Left for us."""
        ...

    @property
    def total(self) -> int:
        """In all."""
        ...


def examine(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """All of it; nothing that cannot be reached takes longer than `SECONDS` each."""
    yield disk(settings)
    with urllib3.PoolManager(timeout=SECONDS, retries=False) as http:
        yield public(settings, http)
        yield providers(settings, http, clock)


def disk(settings: Settings, usage: Callable[[Path], Usage] = shutil.disk_usage) -> Finding:
    """Room where the embedded PostgreSQL, keys and logs lie. A server elsewhere has its own monitoring."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        there = usage(settings.state_dir)
    except OSError as error:
        told = f"STATE_DIR {settings.state_dir} cannot be used ({error.strerror})"
        return found("disk", told, "give this process the right to, or set another STATE_DIR", broken=True)
    text = f"{there.free / 1024**3:.1f} GiB free"
    if there.free < min(LEAST_FREE, LEAST_PART * there.total):
        return found("disk", text, "make room, or lower retention ('calendar-pipeline retention')", broken=True)
    return found("disk", text)


def public(settings: Settings, http: urllib3.PoolManager) -> Finding:
    """The address that browsers and providers use leads to a ready API, and its certificate holds a while."""
    if (url := settings.public_base_url) is None:
        return found("public address", "none: hosted connect works on this machine alone, and there is no push")
    try:
        answer = http.request("GET", f"{url}/readyz", redirect=False)
    except urllib3.exceptions.HTTPError as error:
        why = "its certificate is not trusted" if isinstance(error, urllib3.exceptions.SSLError) else "no answer"
        return found("public address", f"{why} at {url}", "mend the proxy before the API, its certificate or DNS")
    if answer.status != 200:
        remedy = "see what /readyz says on the API's own port, and that the proxy leads there"
        return found("public address", f"{url}/readyz answers {answer.status}", remedy)
    try:
        days = certificate_days(url)
    except OSError:
        return found("public address", f"the certificate of {url} cannot be read", "see that the proxy answers always")
    if days is not None and days < DAYS_LEFT:
        return found("public address", f"its certificate ends in {days} days", "renew it")
    return found("public address", f"{url} is ready" + (f", certificate for {days} days" if days is not None else ""))


def certificate_days(url: str) -> int | None:
    """How long the certificate there is good for; None without TLS."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        return None
    context = ssl.create_default_context()
    with (
        socket.create_connection((parts.hostname, parts.port or 443), SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=parts.hostname) as secured,
    ):
        told = secured.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(told["notAfter"]))
    return int((ends - time.time()) // 86400)


def providers(settings: Settings, http: urllib3.PoolManager, clock: Clock) -> Finding:
    """Any answer of theirs will do: it shows the way is open, and what time it is."""
    away: list[str] = []
    apart = timedelta()
    for name, url in (
        ("Google", settings.google_api_base_url),
        ("Microsoft", settings.microsoft_graph_base_url),
        ("Entra ID", settings.microsoft_login_base_url),
    ):
        try:
            answer = http.request("HEAD", url, redirect=False)
        except urllib3.exceptions.HTTPError:
            away.append(name)
            continue
        if (told := _date(answer.headers.get("date"))) is not None:
            apart = max(apart, abs(told - clock()))
    if away:
        remedy = "see this machine's network, DNS and firewall: it must reach them on port 443"
        return found("providers", f"no answer from {', '.join(away)}", remedy)
    if apart > SKEW:
        return found("providers", f"this clock is {apart.total_seconds():.0f} s off theirs", "let NTP set the clock")
    return found("providers", "all answer, and clocks agree")


def _date(told: str | None) -> datetime | None:
    """The instant that a header names; None for one that names none."""
    try:
        instant = parsedate_to_datetime(told or "")
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
