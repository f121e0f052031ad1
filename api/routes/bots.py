"""``/bots``: send, list, change and call off bots."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import auth, identifiers, methods, pagination, problems, responses, services, shapes, timestamps, validation
from api.body import Posted
from api.services import Services
from api.validation import Field, Invalid
from calendar_pipeline.bots import options, record
from calendar_pipeline.bots import store as bots
from calendar_pipeline.bots.model import FILTERABLE, Bot, BotPatch, Filter, Followed, NewBot
from calendar_pipeline.errors import DuplicateKey, NotFound
from calendar_pipeline.meetings.bot_url import normalise_for_bot
from calendar_pipeline.projects import store as projects
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import address
from calendar_pipeline.webhooks.address import Refused
from calendar_pipeline.webhooks.model import NewSubscription

PAGE = 25
LISTING = "bots"
PATH = "/bots"
ITEM_PATH = "/bots/{bot_id:str}"
DECISIONS_PATH = "/bots/{bot_id:str}/decisions"

READ = {"scope": "bots:read"}
WRITE = {"scope": "bots:write"}

EXAMPLE = "2024-01-18T12:34:56Z"
FURTHEST = timedelta(days=3 * 365)

TAKEN = (
    "Deduplication key already in use. A bot in a non-terminal state with this deduplication key already exists. "
    "Please use a different deduplication key or wait for that bot to terminate."
)
EMOJI = "Bot name cannot contain emojis or rare script characters."
WRONG_TIME = (
    "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
)
PAST = "join_at cannot be in the past"
TOO_FAR = "join_at cannot be more than 3 years in the future"
FIXED = ("join_at", "meeting_url", "bot_name", "bot_image", "recording_settings")
CHANGEABLE = f"{', '.join(FIXED[:-1])} and {FIXED[-1]}"


@get(PATH, sync_to_thread=True, opt=READ)
def list_bots(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A page of bots, oldest first."""
    query = pagination.parameters(request)
    where = filter_of(query, states=[value for name, value in pagination.pairs(request) if name == "states"])
    seek = pagination.seek(query, listing=LISTING)
    with services.of(request).db.single() as conn:
        found = bots.page(conn, auth.project_id(request), where=where, size=PAGE, seek=seek)
    return responses.page(request, [shapes.bot(row) for row in found.rows], found, listing=LISTING)


@post(PATH, sync_to_thread=True, opt=WRITE)
def create_bot(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """Send a bot to a meeting: at once, at a time, or to a calendar's event, which it then follows."""
    service, project, now = services.of(request), auth.project_id(request), services.of(request).clock()
    event = event_of(service, project, posted)
    if event is not None:
        given = {**validation.mapping(posted.data), "meeting_url": event.link, "join_at": event.starts_at}
        posted = replace(posted, data=given)
    values = validation.check(posted, creation_fields(service.settings, now=now))
    new = NewBot(
        name=values["bot_name"],
        meeting_url=values["meeting_url"],
        join_at=values.get("join_at"),
        event=event,
        metadata=values.get("metadata"),
        deduplication_key=values.get("deduplication_key"),
        settings={name: values[name] for name in options.SCHEMAS if name in values},
        webhooks=webhooks_of(values, service.settings),
    )
    try:
        with service.db.begin() as conn:
            if new.webhooks:
                projects.ensure_webhook_secret(conn, service.keyring, project, now=now)
            made = bots.create(conn, service.keyring, project, new, now=now)
    except DuplicateKey:
        raise problems.error(400, TAKEN) from None
    except NotFound as missing:
        raise _no_event(str(missing)) from None
    return responses.json(shapes.bot(made), status=201)


@get(ITEM_PATH, sync_to_thread=True, opt=READ)
def get_bot(request: Request[Any, Any, Any], bot_id: FromPath[str]) -> Response[bytes]:
    """One bot."""
    try:
        with services.of(request).db.single() as conn:
            found = bots.get(conn, auth.project_id(request), identifiers.known(bot_id, "bot"))
    except NotFound:
        raise _not_found() from None
    return responses.json(shapes.bot(found))


@patch(ITEM_PATH, sync_to_thread=True, opt=WRITE)
def patch_bot(
    request: Request[Any, Any, Any], bot_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Change a bot: its metadata at any time, the rest while it is scheduled."""
    service, project, now = services.of(request), auth.project_id(request), services.of(request).clock()
    try:
        known = identifiers.known(bot_id, "bot")
        with service.db.begin() as conn:
            before = bots.lock(conn, project, known)
            values = validation.check(posted, patch_fields(service.settings, now=now), is_lenient=True)
            if before.state != "scheduled" and _changes(
                before, bots.settings(conn, service.keyring, project, known), values
            ):
                raise problems.error(
                    400,
                    f"Bot is in state {before.state} but {CHANGEABLE} can only be updated when in the scheduled state",
                )
            change = BotPatch(
                name=values.get("bot_name"),
                meeting_url=values.get("meeting_url"),
                join_at=values.get("join_at"),
                metadata=values.get("metadata"),
                settings={name: values[name] for name in ("bot_image", "recording_settings") if name in values},
            )
            changed = bots.patch(conn, service.keyring, project, known, change, now=now)
    except NotFound:
        raise _not_found() from None
    return responses.json(shapes.bot(changed))


@delete(ITEM_PATH, sync_to_thread=True, status_code=200, opt=WRITE)
def delete_bot(request: Request[Any, Any, Any], bot_id: FromPath[str]) -> Response[bytes]:
    """Call a scheduled bot off."""
    service, project = services.of(request), auth.project_id(request)
    try:
        known = identifiers.known(bot_id, "bot")
        with service.db.begin() as conn:
            before = bots.lock(conn, project, known)
            if not bots.delete(conn, project, known, now=service.clock()):
                raise problems.error(
                    400, f"Bot is in state {before.state} but can only be deleted when in scheduled state"
                )
    except NotFound:
        raise _not_found() from None
    return responses.empty()


@get(DECISIONS_PATH, sync_to_thread=True, opt=READ)
def list_decisions(request: Request[Any, Any, Any], bot_id: FromPath[str]) -> Response[bytes]:
    """Why the bot is as it is, or why it is gone: each decision, oldest first."""
    try:
        with services.of(request).db.single() as conn:
            found = record.decisions(conn, auth.project_id(request), identifiers.known(bot_id, "bot"))
    except NotFound:
        raise _not_found() from None
    return responses.json(shapes.BotDecisions(results=[shapes.decision(one) for one in found]))


def filter_of(query: Mapping[str, str], *, states: list[str]) -> Filter:
    """The filter that the query's parameters make together; raises a 400 problem."""
    for state in states:
        if state not in FILTERABLE:
            raise problems.error(400, f"Invalid state: {state}. Valid states are: {', '.join(FILTERABLE)}")
    return Filter(
        meeting_url=query.get("meeting_url") or None,
        deduplication_key=query.get("deduplication_key") or None,
        states=states,
        join_at_after=timestamps.optional(query, "join_at_after", example=EXAMPLE),
        join_at_before=timestamps.optional(query, "join_at_before", example=EXAMPLE),
    )


def event_of(service: Services, project: str, posted: Posted) -> Followed | None:
    """The event that the bot is to follow; raises a 400 problem if it cannot."""
    data = validation.mapping(posted.data)
    given = data.get("calendar_event_id")
    if given is None or given == "":
        return None
    name = str(given).strip()
    if not identifiers.could_be(name, "evt"):
        raise _no_event(name)
    try:
        with service.db.single() as conn:
            event = bots.event(conn, project, name)
    except NotFound:
        raise _no_event(name) from None
    for field, what in (("meeting_url", "meeting URL"), ("join_at", "join time")):
        if data.get(field):
            raise problems.error(
                400,
                f"{field} should not be provided when calendar_event_id is specified. "
                f"The {what} will be taken from the calendar event.",
            )
    if event.is_deleted:
        raise problems.error(400, f"Calendar event with id {name} is cancelled. No bot can be sent to it.")
    if not event.is_connected:
        raise problems.error(
            400,
            f"The calendar of calendar event with id {name} is disconnected. Reconnect it before sending a bot there.",
        )
    return event


def webhooks_of(values: Mapping[str, Any], settings: Settings) -> list[NewSubscription]:
    """The bot's own webhooks, not yet looked up; raises a 400 problem."""
    webhooks = cast(list[dict[str, Any]], values.get("webhooks", []))
    if len(webhooks) > options.MOST_WEBHOOKS:
        raise problems.error(400, "You have reached the maximum number of webhooks for a single bot")
    if len({webhook["url"] for webhook in webhooks}) < len(webhooks):
        raise problems.error(400, "URL already subscribed for this bot")
    policy = address.policy(
        http=settings.webhook_allow_http, networks=settings.webhook_allowed_networks, ports=settings.webhook_ports
    )
    try:
        for webhook in webhooks:
            address.accept(webhook["url"], policy)
    except Refused as refusal:
        raise problems.fields({"webhooks": [str(refusal)]}) from None
    return [NewSubscription(url=webhook["url"], triggers=webhook["triggers"]) for webhook in webhooks]


def creation_fields(settings: Settings, *, now: datetime) -> list[Field]:
    """What POST takes."""
    return [
        Field(name="meeting_url", read=meeting_url(settings), required=True),
        Field(name="bot_name", read=bot_name, required=True),
        Field(name="join_at", read=join_at(now)),
        Field(name="calendar_event_id", read=validation.text()),
        Field(name="deduplication_key", read=validation.deduplication_key),
        validation.metadata_field(settings),
        Field(name="webhooks", read=option("webhooks"), is_json=True),
        *(Field(name=name, read=option(name), is_json=True) for name in options.SCHEMAS),
    ]


def patch_fields(settings: Settings, *, now: datetime) -> list[Field]:
    """What PATCH takes."""
    return [
        Field(name="join_at", read=join_at(now)),
        Field(name="meeting_url", read=meeting_url(settings)),
        validation.metadata_field(settings),
        Field(name="bot_name", read=bot_name),
        *(Field(name=name, read=option(name), is_json=True) for name in ("bot_image", "recording_settings")),
    ]


def meeting_url(settings: Settings) -> Callable[[object], str]:
    """A link into a meeting, normalised."""
    read_text = validation.text()

    def read(value: object) -> str:
        url = normalise_for_bot(read_text(value), extra_hosts=settings.extra_meeting_hosts)
        if url is None:
            raise Invalid("Invalid meeting URL")
        return url

    return read


def bot_name(value: object) -> str:
    """A name that every meeting platform can show."""
    name = validation.text(longest=255)(value)
    if any(ord(character) > 0xFFFF for character in name):
        raise Invalid(EMOJI)
    return name


def join_at(now: datetime) -> Callable[[object], datetime]:
    """An instant from `now` on, and not too far off."""

    def read(value: object) -> datetime:
        instant = value if isinstance(value, datetime) else timestamps.parse(value) if isinstance(value, str) else None
        if instant is None:
            raise Invalid(WRONG_TIME)
        if instant < now:
            raise Invalid(PAST)
        if instant > now + FURTHEST:
            raise Invalid(TOO_FAR)
        return instant

    return read


def option(name: str) -> Callable[[object], object]:
    """A settings object, held to its schema and then to what the schema cannot say."""

    def read(value: object) -> object:
        if validation.has_nul(value):
            raise Invalid(validation.NUL)
        if (message := options.misshapen(name, value)) is not None:
            raise Invalid(message)
        if isinstance(value, dict) and (parts := options.mistaken(name, cast(dict[str, Any], value))):
            raise Invalid(parts=parts)
        return value

    return read


def _changes(before: Bot, settings: Mapping[str, object], values: Mapping[str, Any]) -> bool:
    """Whether the body says anything else than what is so already, beside metadata."""
    now_so: dict[str, object] = {"join_at": before.join_at, "meeting_url": before.meeting_url, "bot_name": before.name}
    now_so |= settings
    return any(name in values and (name not in now_so or values[name] != now_so[name]) for name in FIXED)


def _not_found() -> problems.Problem:
    return problems.error(404, "Bot not found")


def _no_event(event_id: str) -> problems.Problem:
    return problems.error(400, f"Calendar event with id {event_id} does not exist in this project.")


HANDLERS = [
    methods.others(PATH, methods.COLLECTION),
    methods.others(ITEM_PATH, methods.ITEM),
    methods.others(DECISIONS_PATH, methods.READ_ONLY),
    list_bots,
    create_bot,
    get_bot,
    patch_bot,
    delete_bot,
    list_decisions,
]
