"""``/external_webhooks/…``: where providers tell that a calendar changed.

A notification is verified and marks its calendar; nothing else is done here, and nothing in it is believed. The paths
without a secret are those of the compatible API: there the channel's token alone decides.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from sqlalchemy.engine import Connection

from api import methods, problems, responses, services
from api.services import Services
from calendar_pipeline.channels import inbox, notice
from calendar_pipeline.channels.notice import Known, Lifecycle, Notice
from calendar_pipeline.channels.plan import hashed
from calendar_pipeline.event import Platform

GOOGLE = "/external_webhooks/google_calendar"
MICROSOFT = "/external_webhooks/microsoft_calendar"
ALLOW = "POST, OPTIONS"

LARGEST = 64 * 1024
LONGEST_VALIDATION = 1024


async def body(request: Request[Any, Any, Any]) -> bytes:
    """The request's body; raises 413 if it is larger than `LARGEST`. Read on the event loop, unlike what follows."""
    return await request.body()


@post(GOOGLE, sync_to_thread=True, status_code=200)
def google(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A notification from Google at the common path."""
    return _google(request, None)


@post(GOOGLE + "/{secret:str}", sync_to_thread=True, status_code=200)
def google_channel(request: Request[Any, Any, Any], secret: FromPath[str]) -> Response[bytes]:
    """A notification from Google at its channel's own path."""
    return _google(request, secret)


@post(MICROSOFT, sync_to_thread=True, status_code=200, request_max_body_size=LARGEST)
def microsoft(request: Request[Any, Any, Any], raw: NamedDependency[bytes]) -> Response[bytes]:
    """Notifications from Microsoft at the common path, or the question whether somebody is here."""
    return _microsoft(request, raw, None)


@post(MICROSOFT + "/{secret:str}", sync_to_thread=True, status_code=200, request_max_body_size=LARGEST)
def microsoft_channel(
    request: Request[Any, Any, Any], raw: NamedDependency[bytes], secret: FromPath[str]
) -> Response[bytes]:
    """Notifications from Microsoft at a channel's own path."""
    return _microsoft(request, raw, secret)


def _google(request: Request[Any, Any, Any], path: str | None) -> Response[bytes]:
    """200 if it is genuine, 404 if it is not. Without a database it is 503: only 500, 502, 503 and 504 are repeated."""
    service = services.of(request)
    told = notice.google(request.headers)
    is_greeting = request.headers.get("x-goog-resource-state") == "sync"
    with service.db.single() as conn:
        known = _one(inbox.find(conn, "google", [told.channel], path=None))
        verdict = notice.judge(told, known, path=path)
        if known is not None and verdict == "genuine":
            now = service.clock()
            if is_greeting:
                inbox.greet(conn, known.id, resource=told.resource, now=now)
            elif notice.asks_for_sync(known):
                inbox.ring(conn, [known], now=now, window=_window(service))
    _count(service, "google", "greeting" if is_greeting and verdict == "genuine" else verdict)
    if verdict == "genuine" or is_greeting:
        return responses.empty()
    raise problems.error(404, "There is no such channel")


def _microsoft(request: Request[Any, Any, Any], raw: bytes, path: str | None) -> Response[bytes]:
    """200 whatever its entries are worth: each is judged alone. Without a database 503: it is repeated for hours."""
    if (token := request.query_params.get("validationToken")) is not None:
        if len(token) > LONGEST_VALIDATION:
            raise problems.error(400, "validationToken is too long")
        return Response(content=token.encode(errors="replace"), media_type=MediaType.TEXT, status_code=200)
    told = _notices(raw)
    if not told:
        return responses.empty()
    service = services.of(request)
    with service.db.single() as conn:
        found = inbox.find(
            conn, "microsoft", {one.channel for one in told}, path=hashed(path) if path is not None else None
        )
        genuine: list[tuple[Notice, Known]] = []
        for one in told:
            known = _named(one, found, path)
            verdict = notice.judge(one, known, path=path)
            _count(service, "microsoft", verdict)
            if known is not None and verdict == "genuine":
                genuine.append((one, known))
        _act(service, conn, genuine)
    return responses.empty()


def _act(service: Services, conn: Connection, genuine: Sequence[tuple[Notice, Known]]) -> None:
    """Do what genuine notifications ask for, each kind by one statement."""
    now = service.clock()
    kinds: dict[Lifecycle | None, dict[str, Known]] = {}
    for one, known in genuine:
        kinds.setdefault(one.lifecycle, {})[known.id] = known
    if again := kinds.get("reauthorizationRequired"):
        inbox.renew(conn, list(again), now=now)
    gone = kinds.get("subscriptionRemoved", {})
    if news := [
        known
        for known in (kinds.get(None, {}) | kinds.get("missed", {}) | gone).values()
        if notice.asks_for_sync(known)
    ]:
        inbox.ring(conn, news, now=now, window=_window(service))
    if gone:
        inbox.removed(conn, list(gone))


def _notices(raw: bytes) -> list[Notice]:
    """The entries of a batch, of many subscriptions perhaps; raises a 400 problem if it is none."""
    try:
        batch: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise problems.error(400, "Invalid JSON") from None
    entries: object = cast(dict[str, object], batch).get("value") if isinstance(batch, dict) else None
    if not isinstance(entries, list):
        return []
    return [_notice(cast(dict[str, object], one)) for one in cast(list[object], entries) if isinstance(one, dict)]


def _notice(entry: dict[str, object]) -> Notice:
    told = entry.get("lifecycleEvent")
    return Notice(
        channel=_text(entry.get("subscriptionId"))[: notice.LONGEST_ID],
        token=_text(entry.get("clientState")),
        resource=None,
        lifecycle=next((kind for kind in notice.LIFECYCLE if kind == told), None),
    )


def _text(value: object) -> str:
    """The value if it is a text that PostgreSQL can have; else an empty one."""
    return value if isinstance(value, str) and "\x00" not in value else ""


def _named(told: Notice, found: Sequence[Known], path: str | None) -> Known | None:
    """The channel that an entry is about. Before the answer to our request came, only the path tells."""
    for known in found:
        if known.remote_id == told.channel and told.channel:
            return known
    if path is None:
        return None
    return next((known for known in found if known.remote_id is None), None)


def _one(found: Sequence[Known]) -> Known | None:
    return found[0] if found else None


def _window(service: Services) -> timedelta:
    return timedelta(seconds=service.settings.push_window_seconds)


def _count(service: Services, platform: Platform, verdict: str) -> None:
    service.metrics.notifications.labels(platform, verdict).inc()


HANDLERS: list[HTTPRouteHandler] = [
    methods.others(GOOGLE, ALLOW),
    methods.others(GOOGLE + "/{secret:str}", ALLOW),
    methods.others(MICROSOFT, ALLOW),
    methods.others(MICROSOFT + "/{secret:str}", ALLOW),
    google,
    google_channel,
    microsoft,
    microsoft_channel,
]
DEPENDENCIES = {"raw": Provide(body)}
