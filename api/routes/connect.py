"""Hosted connect: the application asks for a link, and a person's browser goes through it.

``POST /api/v1/connect_links`` is the application's; the pages below ``/connect`` are for people. No page shows a word
that a provider or a query sent, and neither codes nor tokens are ever logged.
"""

from dataclasses import dataclass
from typing import Any, cast

from litestar import MediaType, Request, Response, Router, get, post
from litestar.datastructures import Cookie as SetCookie
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from api import auth, body, limits, methods, pages, problems, responses, services, validation, writes
from api.body import Posted
from api.validation import Field, Invalid
from calendar_pipeline.calendars.model import PLATFORMS
from calendar_pipeline.connect import plan, run
from calendar_pipeline.connect.plan import Trouble
from calendar_pipeline.connect.run import Begun, Done, NotListed, NotRegistered, Picking, Refused
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.event import Platform
from calendar_pipeline.settings import Settings

LINKS_PATH = "/connect_links"
BEGIN_PATH = "/connect/{platform:str}"
CALLBACK_PATH = "/connect/{platform:str}/callback"
PICK_PATH = "/connect/{platform:str}/calendar"

FORM_ONLY = "POST, OPTIONS"
PAGE_ONLY = "GET, OPTIONS"
PROVIDERS: dict[str, str] = {"google": "Google", "microsoft": "Microsoft"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a page says of a trouble."""

    status: int
    title: str
    text: str


SAID: dict[Trouble, Said] = {
    "used_or_expired": Said(
        status=400,
        title="This link was used already, or is too old",
        text="Each link works once, for ten minutes. Go back to the application and connect from there again.",
    ),
    "other_browser": Said(
        status=400,
        title="This began in another browser",
        text="Go on in the browser where you began, or go back to the application and connect again from here. "
        "If you already are in that browser, allow cookies for this page.",
    ),
    "denied": Said(
        status=403,
        title="You did not allow it",
        text="Nothing was connected. If that was a mistake, try again and choose to allow it.",
    ),
    "calendar_not_allowed": Said(
        status=403,
        title="The calendar box was not ticked",
        text="You signed in, but did not allow your calendar to be read, so there is nothing to follow. "
        "Try again and leave the box for the calendar ticked.",
    ),
    "no_refresh_token": Said(
        status=403,
        title="Access would end within the hour",
        text="Your account did not give lasting access. Remove the application in your account's security settings, "
        "then try again.",
    ),
    "other_account": Said(
        status=409,
        title="This is another account",
        text="The calendar can be reconnected only with the account that it was connected with. "
        "Try again and choose that account.",
    ),
    "other_platform": Said(
        status=409,
        title="This calendar is at the other provider",
        text="It cannot be reconnected here. Go back to the application and choose the calendar's own provider.",
    ),
    "calendar_gone": Said(
        status=409,
        title="The calendar is not there any more",
        text="It was removed in the meantime. Go back to the application and connect it as a new one.",
    ),
    "no_such_calendar": Said(
        status=400, title="No calendar was chosen", text="Try again, and choose one of the account's calendars."
    ),
    "provider_busy": Said(
        status=503,
        title="Your calendar's provider does not answer just now",
        text="Nothing was connected. Wait a minute, then try again.",
    ),
    "provider_refused": Said(
        status=400,
        title="Your calendar's provider said no",
        text="Nothing was connected. Try again; if it happens once more, your organisation may not allow it: "
        "ask its administrator.",
    ),
    "operator": Said(
        status=503,
        title="This cannot be done at the moment",
        text="Something is not set up as it should be, and only the people who run this can mend it. "
        "Tell the application's support; trying again later may work.",
    ),
}


WRONG: dict[int, tuple[str, str]] = {
    429: ("Too many visits from your network", "Nothing is lost: wait a moment, then load this page again."),
    503: ("This does not work just now", "Nothing was connected. Wait a minute, then load this page again."),
}
OUR_FAULT = (
    "Something went wrong here",
    "Go back and connect once more. If it happens again, tell the application's support.",
)
NO_PAGE = "There is no such page", "Go back to the application and connect from there."


@post(LINKS_PATH, sync_to_thread=True, opt={"scope": "calendars:write"})
def create_connect_link(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """A one-time link for one person's browser."""
    service = services.of(request)
    values = validation.check(posted, link_fields(service.settings))
    asked = plan.Request(return_state=values.pop("state", None), **values)
    try:
        made = service.connector.offer(auth.project_id(request), asked)
    except NotRegistered:
        text = (
            "This project has no OAuth application for this platform. Register one: calendar-pipeline connect register."
        )
        raise problems.fields({"platform": [text]}) from None
    except NotListed:
        raise problems.fields({"return_url": ["Not one of the return URLs registered for this project."]}) from None
    except NotFound:
        raise problems.fields({"calendar_id": ["No such calendar in this project."]}) from None
    except SetupError as refusal:
        raise problems.error(409, str(refusal)) from None
    return responses.json({"url": made.url, "expires_at": made.expires_at}, status=201)


@get(BEGIN_PATH, sync_to_thread=True)
def begin(request: Request[Any, Any, Any], platform: FromPath[str]) -> Response[bytes]:
    """A person's browser arrives with the link, and is sent on to the provider."""
    _only_get(request)
    match services.of(request).connector.begin(_platform(platform), request.query_params.get("link", "")):
        case Begun(location=location, cookie=cookie):
            answer = _redirect(location)
            answer.set_cookie(_cookie(cookie.name, cookie.value, is_secure=cookie.is_secure))
            return answer
        case Refused() as refused:
            return _trouble(refused)


@get(CALLBACK_PATH, sync_to_thread=True)
def callback(request: Request[Any, Any, Any], platform: FromPath[str]) -> Response[bytes]:
    """The provider sends the browser back."""
    _only_get(request)
    query = request.query_params
    result = services.of(request).connector.answer(
        _platform(platform),
        query.get("state", ""),
        code=query.get("code"),
        error=query.get("error"),
        cookies=request.cookies,
        request_id=_request_id(request),
    )
    match result:
        case Picking(flow=flow, token=token):
            return pages.page(
                "pick.html",
                forms_to=plan.origin(flow.request.return_url),
                project=flow.project_name,
                provider=PROVIDERS[platform],
                email=None if flow.account is None else flow.account.email,
                user_label=flow.request.user_label,
                action=f"/connect/{platform}/calendar",
                token=token,
                choices=flow.choices,
            )
        case Done() as done:
            return _back(request, done)
        case Refused() as refused:
            return _trouble(refused)


@post(PICK_PATH, sync_to_thread=True, status_code=200, dependencies={"posted": Provide(body.read)})
def pick(request: Request[Any, Any, Any], platform: FromPath[str], posted: NamedDependency[Posted]) -> Response[bytes]:
    """The person picked a calendar, and is sent back to the application."""
    given = cast("dict[str, object]", posted.data) if posted.is_form else {}
    result = services.of(request).connector.pick(
        _platform(platform),
        str(given.get("token", "")),
        str(given.get("calendar", "")),
        cookies=request.cookies,
        request_id=_request_id(request),
    )
    return _back(request, result) if isinstance(result, Done) else _trouble(result)


@get(pages.STYLE_PATH, sync_to_thread=False)
def style() -> Response[bytes]:
    """The pages' style sheet."""
    headers = {"cache-control": "public, max-age=3600"}
    return Response(content=pages.style(), media_type=MediaType.CSS, headers=headers)


def link_fields(settings: Settings) -> list[Field]:
    """What POST takes."""
    rule = validation.metadata(
        longest=settings.max_metadata_length, only_texts=settings.require_string_values_in_metadata
    )
    return [
        Field(name="platform", read=validation.choice(*PLATFORMS), required=True),
        Field(name="return_url", read=_return_url, required=True),
        Field(name="state", read=validation.text(longest=512)),
        Field(name="user_label", read=validation.text(longest=255)),
        Field(name="login_hint", read=validation.text(longest=320)),
        Field(name="calendar_id", read=validation.text(longest=64)),
        Field(name="deduplication_key", read=validation.deduplication_key),
        Field(name="metadata", read=rule, is_json=True),
    ]


def _return_url(value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(validation.NOT_TEXT)
    try:
        return plan.check_return_url(value)
    except SetupError as refusal:
        raise Invalid(str(refusal)) from None


def _platform(name: str) -> Platform:
    if name not in PLATFORMS:
        raise problems.error(404, "Not found")
    return name


def _only_get(request: Request[Any, Any, Any]) -> None:
    """HEAD would use up what works once."""
    if cast("dict[str, Any]", request.scope)[methods.ASKED] != "GET":
        raise problems.not_allowed("HEAD", PAGE_ONLY)


def _request_id(request: Request[Any, Any, Any]) -> str:
    return str(cast("dict[str, Any]", request.scope)[writes.REQUEST_ID])


def _redirect(location: str) -> Response[bytes]:
    headers = {"location": location, "referrer-policy": "no-referrer"}
    return Response(content=b"", status_code=303, headers=headers, media_type=MediaType.TEXT)


def _back(request: Request[Any, Any, Any], done: Done) -> Response[bytes]:
    answer = _redirect(done.location)
    if done.cookie in request.cookies:
        answer.set_cookie(_cookie(done.cookie, "", is_secure=done.cookie.startswith("__Host-"), life=0))
    return answer


def _cookie(name: str, value: str, *, is_secure: bool, life: int = int(run.LIFE.total_seconds())) -> SetCookie:
    return SetCookie(key=name, value=value, path="/", max_age=life, secure=is_secure, httponly=True, samesite="lax")


def _trouble(refused: Refused) -> Response[bytes]:
    said = SAID[refused.trouble]
    flow = refused.flow
    detail = None
    if refused.trouble == "other_account" and refused.expected and refused.account:
        detail = f"Connected with: {refused.expected.email}. You signed in as: {refused.account.email}."
    back = None
    if flow is not None:
        back = plan.back(flow.request.return_url, state=flow.request.return_state, error=refused.trouble)
    return pages.page(
        "trouble.html",
        status=said.status,
        title=said.title,
        text=said.text,
        detail=detail,
        project=None if flow is None else flow.project_name,
        provider=None if flow is None else PROVIDERS[flow.request.platform],
        again=refused.again,
        back=back,
    )


def limit(request: Request[Any, Any, Any]) -> None:
    """Litestar's hook before a page: no address takes a process, or the database, for itself."""
    if request.url.path != pages.STYLE_PATH:
        limits.of_visitor(services.of(request).limits, request.client.host if request.client else "-")


def in_words(request: Request[Any, Any, Any], exception: Exception) -> Response[bytes]:
    """What goes wrong where people are is said on a page; status and headers are those of the API."""
    answer = problems.answer(request, exception)
    status = answer.status_code or 500
    title, text = WRONG.get(status, NO_PAGE if status < 500 else OUR_FAULT)
    return pages.page(
        "trouble.html",
        status=status,
        headers=answer.headers,
        title=title,
        text=text,
        detail=None,
        project=None,
        provider=None,
        again=None,
        back=None,
    )


API_HANDLERS = [methods.others(LINKS_PATH, FORM_ONLY), create_connect_link]

PAGES = Router(
    path="",
    route_handlers=[
        methods.others(BEGIN_PATH, PAGE_ONLY),
        methods.others(CALLBACK_PATH, PAGE_ONLY),
        methods.others(PICK_PATH, FORM_ONLY),
        methods.others(pages.STYLE_PATH, methods.READ_ONLY),
        begin,
        callback,
        pick,
        style,
    ],
    before_request=limit,
    exception_handlers={Exception: in_words},
)
