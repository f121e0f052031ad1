"""Rules that make bots, and a yes or no for single events. Paths of our own."""

from collections.abc import Mapping
from typing import Any, cast, get_args

from litestar import Request, Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import auth, identifiers, methods, own, problems, records, responses, services, validation
from api.body import Posted
from api.services import Services
from api.validation import Field, Invalid
from calendar_pipeline.bots import rule_store, rules
from calendar_pipeline.bots.rules import Rules
from calendar_pipeline.errors import NotFound, SetupError

PATH = "/bot_rules"
OVERRIDE_PATH = "/calendar_events/{event_id:str}/bot_override"

READ = {auth.SCOPE: "bots:read"}
WRITE = {auth.SCOPE: "bots:write"}

SAID: Mapping[str, bool | None] = {"yes": True, "no": False, "unset": None}


@get(PATH, sync_to_thread=True, opt=READ)
def get_bot_rules(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The project's rules."""
    own.parameters(request)
    service = services.of(request)
    with service.db.single() as conn:
        kept = rule_store.get(conn, service.keyring, auth.project_id(request))
    if kept is None:
        raise _no_rules()
    return responses.json(records.bot_rules(kept))


@put(PATH, sync_to_thread=True, opt=WRITE)
def put_bot_rules(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """Keep these rules in place of the former ones. Upcoming events are judged by them from now on."""
    own.parameters(request)
    service, project = services.of(request), auth.project_id(request)
    given = rules_of(service, posted)
    with service.db.begin() as conn:
        if unknown := rule_store.strangers(conn, project, sorted(given.calendars)):
            raise problems.fields({"calendars": [f"The project has no calendar {', '.join(unknown)}."]})
        rule_store.put(conn, service.keyring, project, given, now=service.clock())
    return responses.json(records.bot_rules(given))


@delete(PATH, sync_to_thread=True, status_code=200, opt=WRITE)
def delete_bot_rules(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Forget the rules. Bots that they made are cancelled."""
    own.parameters(request)
    service = services.of(request)
    with service.db.begin() as conn:
        if not rule_store.clear(conn, auth.project_id(request), now=service.clock()):
            raise _no_rules()
    return responses.empty()


@get(OVERRIDE_PATH, sync_to_thread=True, opt=READ)
def get_bot_override(request: Request[Any, Any, Any], event_id: FromPath[str]) -> Response[bytes]:
    """What was said for the event."""
    own.parameters(request)
    try:
        with services.of(request).db.single() as conn:
            said = rule_store.overridden(conn, auth.project_id(request), identifiers.known(event_id, "evt"))
    except NotFound:
        raise _no_event() from None
    answer = next(answer for answer, meant in SAID.items() if meant is said)
    return _override(event_id, answer)


@put(OVERRIDE_PATH, sync_to_thread=True, opt=WRITE)
def put_bot_override(
    request: Request[Any, Any, Any], event_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Say whether a bot joins the event, whatever the rules say. It holds while the project has rules."""
    own.parameters(request)
    service = services.of(request)
    answer = validation.check(posted, FIELDS)["answer"]
    try:
        with service.db.begin() as conn:
            if not rule_store.override(
                conn, auth.project_id(request), identifiers.known(event_id, "evt"), SAID[answer], now=service.clock()
            ):
                raise NotFound(event_id)
    except NotFound:
        raise _no_event() from None
    return _override(event_id, answer)


def rules_of(service: Services, posted: Posted) -> Rules:
    """The rules in a body; raises a 400 problem that says what to change."""
    data = validation.mapping(posted.data)
    if validation.has_nul(data):
        raise problems.whole(validation.NUL)
    try:
        given = rules.given({name: value if name == "bot" else _whole(value) for name, value in data.items()})
        if given.bot.metadata is not None:
            validation.metadata_field(service.settings).read(given.bot.metadata)
    except SetupError as refusal:
        raise problems.whole(str(refusal)) from None
    except Invalid as refusal:
        raise problems.fields({"bot.metadata": [str(refusal)]}) from None
    return given


def _whole(value: object) -> object:
    """`value` with 5.0 as 5, which JSON does not tell apart, at any depth."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _whole(one) for name, one in cast(dict[str, object], value).items()}
        case list():
            return [_whole(one) for one in cast(list[object], value)]
        case _:
            return value


def _override(event_id: str, answer: str) -> Response[bytes]:
    return responses.json(records.BotOverride(event_id=event_id, answer=cast(records.Answer, answer)))


def _no_rules() -> problems.Problem:
    return problems.error(404, "The project has no rules for bots.")


def _no_event() -> problems.Problem:
    return problems.error(404, "There is no such event in this project.")


FIELDS = (Field(name="answer", read=validation.choice(*get_args(records.Answer)), required=True),)

HANDLERS = [
    methods.others(PATH, methods.CLEARABLE),
    methods.others(OVERRIDE_PATH, methods.SETTABLE),
    get_bot_rules,
    put_bot_rules,
    delete_bot_rules,
    get_bot_override,
    put_bot_override,
]
