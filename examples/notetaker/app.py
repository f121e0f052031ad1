"""Notetaker's pages: sign in, connect a calendar, choose the meetings that a bot joins."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import httpx
from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.params import FromPath
from litestar.response import ServerSentEvent
from litestar.static_files import create_static_files_router

from examples.notetaker import signature
from examples.notetaker.follow import Follower
from examples.notetaker.live import Pages
from examples.notetaker.pipeline import Pipeline, Refused
from examples.notetaker.settings import Settings
from examples.notetaker.store import OVER, SHOWN, Row, Store

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
SESSION = "notetaker-session"
PLATFORMS = {"google": "Google", "microsoft": "Microsoft"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
REFUSALS = {
    "denied": "You did not allow access, so nothing was connected.",
    "calendar_not_allowed": "The box for the calendar was not ticked, so there is nothing to follow.",
    "other_account": "That was another account than the calendar's own.",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers need."""

    settings: Settings
    store: Store
    pipeline: Pipeline
    follower: Follower
    pages: Pages
    templates: Environment


def create_app(settings: Settings) -> Litestar:
    """The application; its thread starts and ends with it."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        store, pages = Store(settings.database), Pages()
        pipeline = Pipeline(settings.api_url, settings.api_key)
        follower = Follower(store, pipeline, poll_seconds=settings.poll_seconds, changed=pages.tell)
        templates = Environment(
            loader=PackageLoader("examples.notetaker", "templates"), autoescape=True, undefined=StrictUndefined
        )
        app.state["parts"] = Parts(settings, store, pipeline, follower, pages, templates)
        pages.start()
        follower.start()
        try:
            yield
        finally:
            await to_thread.run_sync(follower.stop)
            pipeline.close()
            store.close()

    return Litestar(
        route_handlers=[
            home, meetings, updates, sign_in, sign_out, connect, connected, forget, schedule, unschedule, webhook,
            create_static_files_router("/static", directories=[HERE / "static"]),
        ],
        lifespan=[lifespan],
        openapi_config=None,
        exception_handlers={
            httpx.HTTPError: _pipeline_trouble,
            NotAuthorizedException: _sign_in_first,
            NotFoundException: _not_here,
        },
        logging_config=None,
    )  # fmt: skip


# -- pages


@get("/", sync_to_thread=True)
def home(request: Request[Any, Any, Any]) -> Response[str]:
    """The meetings, or the way in."""
    parts, user = _parts(request), _user(request)
    if user is None:
        return _page(parts, "welcome.html")
    said = request.query_params.get("said", "")
    return _page(parts, "home.html", notice=_notice(said), **_shown(parts, user))


@get("/meetings", sync_to_thread=True)
def meetings(request: Request[Any, Any, Any]) -> Response[str]:
    """The part of the page that changes."""
    user = _signed_in(request)
    return _page(_parts(request), "meetings.html", **_shown(_parts(request), user))


@get("/updates", sync_to_thread=False)
def updates(request: Request[Any, Any, Any]) -> ServerSentEvent:
    """Says when the page should read `/meetings` again."""
    return ServerSentEvent(_parts(request).pages.stream(_signed_in(request)["id"]))


@post("/session", status_code=303)
async def sign_in(request: Request[Any, Any, Any]) -> Response[str]:
    """An example needs no passwords; yours does."""
    email = str((await request.form()).get("email", "")).strip()
    if "@" not in email or len(email) > 200:
        return _to("/")
    secret = await to_thread.run_sync(_parts(request).store.sign_in, email)
    answer = _to("/")
    answer.set_cookie(
        Cookie(key=SESSION, value=secret, path="/", httponly=True, samesite="lax", secure=_https(request))
    )
    return answer


@post("/session/end", sync_to_thread=True, status_code=303)
def sign_out(request: Request[Any, Any, Any]) -> Response[str]:
    """Goodbye."""
    _parts(request).store.sign_out(request.cookies.get(SESSION, ""))
    return _to("/")


# -- calendars


@post("/connect/{platform:str}", sync_to_thread=True, status_code=303)
def connect(request: Request[Any, Any, Any], platform: FromPath[str]) -> Response[str]:
    """Send the user to connect a calendar, or to connect one again."""
    parts, user = _parts(request), _signed_in(request)
    if platform not in PLATFORMS:
        raise NotFoundException
    calendar_id = request.query_params.get("calendar_id")
    if calendar_id is not None and calendar_id not in {one["id"] for one in parts.store.calendars(user["id"])}:
        raise NotFoundException
    link = parts.pipeline.connect_link(
        platform=platform,
        return_url=f"{parts.settings.base_url}/connected",
        state=parts.store.begin_connecting(user["id"]),
        user_label=user["email"],
        calendar_id=calendar_id,
        metadata={"user": user["id"]},
    )
    return _to(link)


@get("/connected", sync_to_thread=True, status_code=303)
def connected(request: Request[Any, Any, Any]) -> Response[str]:
    """The user comes back. Only with the state that they left with is the calendar theirs."""
    parts, user, query = _parts(request), _signed_in(request), request.query_params
    if not parts.store.end_connecting(user["id"], query.get("state", "")):
        return _to("/?said=stranger")
    calendar = parts.pipeline.calendar(query.get("calendar_id", ""))
    if calendar is None or (calendar["metadata"] or {}).get("user") != user["id"]:
        return _to(f"/?said={query.get('error') if query.get('error') in REFUSALS else 'failed'}")
    parts.store.keep_calendar(calendar, user["id"])
    parts.follower.ask(calendar["id"], everything=True)
    return _to("/?said=connected")


@post("/calendars/{calendar_id:str}/forget", sync_to_thread=True, status_code=303)
def forget(request: Request[Any, Any, Any], calendar_id: FromPath[str]) -> Response[str]:
    """Follow a calendar no longer."""
    parts, user = _parts(request), _signed_in(request)
    if calendar_id in {one["id"] for one in parts.store.calendars(user["id"])}:
        parts.pipeline.forget_calendar(calendar_id)
        parts.store.forget(calendar_id)
    return _to("/")


# -- bots


@post("/meetings/{event_id:str}/bot", sync_to_thread=True, status_code=303)
def schedule(request: Request[Any, Any, Any], event_id: FromPath[str]) -> Response[str]:
    """Send a bot to this meeting."""
    parts, event = _parts(request), _event(request, event_id)
    if not _has_bot(event):
        try:
            parts.store.set_bot(event_id, parts.pipeline.schedule_bot(event_id))
        except Refused:  # begun meanwhile, or its link is none that bots can join
            return _to("/?said=no_bot")
    return _to("/")


@post("/meetings/{event_id:str}/no-bot", sync_to_thread=True, status_code=303)
def unschedule(request: Request[Any, Any, Any], event_id: FromPath[str]) -> Response[str]:
    """Call the bot off."""
    parts, event = _parts(request), _event(request, event_id)
    if _has_bot(event):
        try:
            parts.pipeline.unschedule_bot(event["bot_id"])
        except Refused:  # it is on its way already
            return _to("/?said=joining")
        parts.store.set_bot(event_id, None)
    return _to("/")


# -- webhooks


@post("/webhooks", status_code=200)
async def webhook(request: Request[Any, Any, Any]) -> Response[str]:
    """Verify, remember, answer; the reading is done elsewhere, since the sender waits for the answer."""
    parts, body = _parts(request), await request.body()
    if not signature.is_good(parts.settings.webhook_secret, body, request.headers.get("x-webhook-signature")):
        log.warning("a webhook was refused: it is not signed with NOTETAKER_WEBHOOK_SECRET")
        raise HTTPException("The signature is not ours.", status_code=401)
    told: Any = json.loads(body)
    if parts.store.is_new(str(told["idempotency_key"])):
        parts.follower.webhook(told)
    return Response("", media_type=MediaType.TEXT)


# -- parts of the handlers


def parts_of(app: Litestar) -> Parts:
    """What `app` works with."""
    return cast(Parts, app.state["parts"])


def _parts(request: Request[Any, Any, Any]) -> Parts:
    return parts_of(request.app)


def _user(request: Request[Any, Any, Any]) -> Row | None:
    return _parts(request).store.user(request.cookies.get(SESSION, ""))


def _signed_in(request: Request[Any, Any, Any]) -> Row:
    user = _user(request)
    if user is None:
        raise NotAuthorizedException
    return user


def _event(request: Request[Any, Any, Any], event_id: str) -> Row:
    event = _parts(request).store.event(_signed_in(request)["id"], event_id)
    if event is None:
        raise NotFoundException
    return event


def _shown(parts: Parts, user: Row) -> dict[str, object]:
    now = datetime.now(UTC)
    calendars = parts.store.calendars(user["id"])
    events = parts.store.upcoming(user["id"], now=now)
    return {
        "user": user,
        "calendars": calendars,
        "disconnected": [one for one in calendars if one["state"] == "disconnected"],
        "days": _by_day(events[:SHOWN]),
        "more": len(events) > SHOWN,
        "shown": SHOWN,
        "platforms": PLATFORMS,
    }


def _has_bot(event: Row) -> bool:
    """Whether a bot is to join, or is there: one that is over leaves the place to another."""
    return event["bot_id"] is not None and event["bot_state"] not in OVER


def _by_day(events: Sequence[Row]) -> list[tuple[date, list[dict[str, Any]]]]:
    """By UTC's days, since nothing here knows the reader's zone; `live.js` puts each under the reader's own."""
    days: dict[date, list[dict[str, Any]]] = {}
    for event in events:
        times = {name: datetime.fromisoformat(event[name]) for name in ("starts_at", "ends_at")}
        row = {**dict(event), **times, "has_bot": _has_bot(event)}
        row["bot_join_at"] = datetime.fromisoformat(event["bot_join_at"]) if event["bot_join_at"] else None
        day = date.fromisoformat(event["all_day_on"]) if event["all_day_on"] else times["starts_at"].date()
        days.setdefault(day, []).append(row)
    return sorted(days.items())


def _notice(said: str) -> str | None:
    told = {
        "connected": "Your calendar is connected. Its meetings appear here in a moment.",
        "stranger": "That connection was begun by someone else or in another session. Please connect again.",
        "failed": "The calendar could not be connected. Please try again.",
        "no_bot": "No bot can be sent to this meeting: it has begun, or bots cannot join by its link.",
        "joining": "The bot is on its way already, and cannot be called off any more.",
    }
    return (told | REFUSALS).get(said)


def _page(parts: Parts, template: str, **values: object) -> Response[str]:
    text = parts.templates.get_template(template).render(**values)
    return Response(text, media_type=MediaType.HTML, headers=HEADERS | {"cache-control": "no-store"})


def _to(location: str) -> Response[str]:
    return Response("", status_code=303, headers={"location": location, "cache-control": "no-store"})


def _https(request: Request[Any, Any, Any]) -> bool:
    return _parts(request).settings.base_url.startswith("https://")


def _pipeline_trouble(request: Request[Any, Any, Any], trouble: Exception) -> Response[str]:
    """Users cannot mend it; who can finds in the log what it was, for example 401: NOTETAKER_API_KEY is wrong."""
    status = trouble.response.status_code if isinstance(trouble, httpx.HTTPStatusError) else "no answer"
    log.error("Calendar Pipeline's API: %s (%s)", status, type(trouble).__name__)
    return _trouble(request, 502, "The calendar service did not do it. Nothing was changed; try again in a moment.")


def _sign_in_first(request: Request[Any, Any, Any], _: Exception) -> Response[str]:
    if "text/html" in request.headers.get("accept", "") and request.url.path != "/meetings":
        return _to("/")
    return _trouble(request, 401, "Sign in first.")


def _not_here(request: Request[Any, Any, Any], _: Exception) -> Response[str]:
    return _trouble(request, 404, "There is nothing here, or it is there no longer.")


def _trouble(request: Request[Any, Any, Any], status: int, text: str) -> Response[str]:
    answer = _page(_parts(request), "trouble.html", text=text)
    answer.status_code = status
    return answer
