"""``/webhooks``: who is told of what, what became of it, and sending it again. Paths of our own."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast, get_args

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import (
    auth,
    identifiers,
    methods,
    own,
    pagination,
    problems,
    responses,
    services,
    shapes,
    validation,
)
from api.body import Posted
from api.services import Services
from api.validation import Field, Invalid
from calendar_pipeline.errors import NotFound
from calendar_pipeline.projects import model as projects
from calendar_pipeline.projects import store as project_store
from calendar_pipeline.webhooks import address, client, log, subscriptions
from calendar_pipeline.webhooks.address import Refused
from calendar_pipeline.webhooks.model import (
    DISABLED,
    MOST_CONCURRENCY,
    MOST_SUBSCRIPTIONS,
    TRIGGERS,
    Content,
    DeliveryStatus,
    NewSubscription,
    Ordering,
    Subscription,
    SubscriptionPatch,
)

PAGE = 100
LISTING = "webhooks"
DELIVERIES = "webhook_deliveries"
PATH = "/webhooks"
ITEM_PATH = "/webhooks/{webhook_id:str}"
ROTATE_PATH = "/webhooks/{webhook_id:str}/rotate_secret"
TEST_PATH = "/webhooks/{webhook_id:str}/test"
RECOVER_PATH = "/webhooks/{webhook_id:str}/recover"
PROJECT_SECRET_PATH = "/webhook_secret/rotate"  # noqa: S105 - a path
DELIVERIES_PATH = "/webhook_deliveries"
DELIVERY_PATH = "/webhook_deliveries/{delivery_id:str}"
RESEND_PATH = "/webhook_deliveries/{delivery_id:str}/resend"

MANAGE = {"scope": "webhooks:manage"}

KNOWN_TRIGGERS = (*TRIGGERS, DISABLED)
LONGEST_OVERLAP = timedelta(days=7)


@get(PATH, sync_to_thread=True, opt=MANAGE)
def list_webhooks(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The project's endpoints, newest first; with `bot_id` those of one bot."""
    query = own.parameters(request, "cursor", "bot_id")
    seek = pagination.seek(query, listing=LISTING)
    with services.of(request).db.single() as conn:
        found = subscriptions.page(
            conn, auth.project_id(request), size=PAGE, seek=seek, bot_id=_text(query.get("bot_id"))
        )
    return responses.page(request, [shapes.webhook(row) for row in found.rows], found, listing=LISTING)


@post(PATH, sync_to_thread=True, opt=MANAGE)
def create_webhook(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """Tell an endpoint of events from now on. Its address is looked up and must be public."""
    service, project, now = services.of(request), auth.project_id(request), services.of(request).clock()
    values = validation.check(posted, creation_fields())
    _examine(service, values["url"])
    kind = values.pop("secret", "project")
    secret = projects.new_signing_secret() if kind == "own" else None
    with service.db.begin() as conn:
        if subscriptions.count(conn, project) >= MOST_SUBSCRIPTIONS:
            raise problems.error(400, f"A project has {MOST_SUBSCRIPTIONS} webhooks at most. Delete one first.")
        [made] = subscriptions.create(
            conn, service.keyring, project, [NewSubscription(**values, secret=secret)], now=now
        )
        shown = secret
        if secret is None:
            shown = project_store.ensure_webhook_secret(conn, service.keyring, project, now=now)
    return _no_store(responses.json(shapes.new_webhook(made, secret=shown), status=201))


@get(ITEM_PATH, sync_to_thread=True, opt=MANAGE)
def get_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Response[bytes]:
    """One endpoint."""
    own.parameters(request)
    return responses.json(shapes.webhook(_found(request, webhook_id)))


@patch(ITEM_PATH, sync_to_thread=True, opt=MANAGE)
def patch_webhook(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Change an endpoint. Enabling it, or another URL, starts its record anew and makes due what waits."""
    service = services.of(request)
    _found(request, webhook_id)
    values = validation.check(posted, patch_fields())
    if "url" in values:
        _examine(service, values["url"])
    try:
        with service.db.begin() as conn:
            changed = subscriptions.patch(
                conn, auth.project_id(request), webhook_id, SubscriptionPatch(**values), now=service.clock()
            )
    except NotFound:
        raise _no_webhook() from None
    return responses.json(shapes.webhook(changed))


@delete(ITEM_PATH, sync_to_thread=True, status_code=200, opt=MANAGE)
def delete_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Response[bytes]:
    """Forget an endpoint, and all that was or is due to it."""
    try:
        with services.of(request).db.begin() as conn:
            subscriptions.delete(conn, auth.project_id(request), identifiers.known(webhook_id, "webhook"))
    except NotFound:
        raise _no_webhook() from None
    return responses.empty()


@post(ROTATE_PATH, sync_to_thread=True, status_code=200, opt=MANAGE)
def rotate_webhook_secret(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Give an endpoint a new secret of its own; the one so far signs as well until the overlap ends."""
    service, now = services.of(request), services.of(request).clock()
    _found(request, webhook_id)
    overlap = _overlap(validation.check(posted, [_OVERLAP]))
    try:
        with service.db.begin() as conn:
            secret = subscriptions.rotate(
                conn, service.keyring, auth.project_id(request), webhook_id, now=now, overlap=overlap
            )
    except NotFound:
        raise _no_webhook() from None
    return _rotated(secret, overlap, now=now)


@post(PROJECT_SECRET_PATH, sync_to_thread=True, status_code=200, opt=MANAGE)
def rotate_project_secret(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """Give the project a new secret, for all endpoints without their own."""
    service, now = services.of(request), services.of(request).clock()
    overlap = _overlap(validation.check(posted, [_OVERLAP]))
    with service.db.begin() as conn:
        secret = project_store.set_webhook_secret(
            conn, service.keyring, auth.project_id(request), now=now, overlap=overlap
        )
    return _rotated(secret, overlap, now=now)


@post(TEST_PATH, sync_to_thread=True, status_code=202, opt=MANAGE)
def send_test_event(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Send a test event, trigger ``webhook.test``, to an endpoint."""
    service = services.of(request)
    validation.check(posted, [])
    _found(request, webhook_id)
    with service.db.begin() as conn:
        made = log.test(conn, auth.project_id(request), webhook_id, now=service.clock())
    return responses.json(shapes.Sent(id=made), status=202)


@post(RECOVER_PATH, sync_to_thread=True, status_code=202, opt=MANAGE)
def recover_webhook(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Send again all that an endpoint missed since an instant."""
    service = services.of(request)
    values = validation.check(posted, [Field(name="since", read=validation.instant, required=True)])
    _found(request, webhook_id)
    with service.db.begin() as conn:
        count = log.recover(conn, auth.project_id(request), webhook_id, since=values["since"], now=service.clock())
    return responses.json(shapes.Queued(count=count), status=202)


@get(DELIVERIES_PATH, sync_to_thread=True, opt=MANAGE)
def list_deliveries(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Deliveries, newest first."""
    query = own.parameters(request, "cursor", "webhook_id", "status")
    status = query.get("status")
    if status is not None and status not in get_args(DeliveryStatus):
        raise problems.error(400, f"status is one of {', '.join(get_args(DeliveryStatus))}.")
    seek = pagination.seek(query, listing=DELIVERIES)
    with services.of(request).db.single() as conn:
        found = log.page(
            conn,
            auth.project_id(request),
            size=PAGE,
            seek=seek,
            subscription=_text(query.get("webhook_id")),
            status=cast(DeliveryStatus | None, status),
        )
    return responses.page(request, [shapes.delivery(row) for row in found.rows], found, listing=DELIVERIES)


@get(DELIVERY_PATH, sync_to_thread=True, opt=MANAGE)
def get_delivery(request: Request[Any, Any, Any], delivery_id: FromPath[str]) -> Response[bytes]:
    """One delivery, what was sent, and each attempt."""
    own.parameters(request)
    try:
        with services.of(request).db.single() as conn:
            found = log.get(conn, auth.project_id(request), identifiers.known(delivery_id, "msg"))
            attempts = log.attempts(conn, found.id)
    except NotFound:
        raise _no_delivery() from None
    return responses.json(shapes.delivery_in_full(found, attempts))


@post(RESEND_PATH, sync_to_thread=True, status_code=202, opt=MANAGE)
def resend_delivery(
    request: Request[Any, Any, Any], delivery_id: FromPath[str], posted: NamedDependency[Posted]
) -> Response[bytes]:
    """Send a delivery again, under the same id."""
    service, project = services.of(request), auth.project_id(request)
    validation.check(posted, [])
    try:
        known = identifiers.known(delivery_id, "msg")
        with service.db.begin() as conn:
            if not log.resend(conn, project, known, now=service.clock()):
                log.get(conn, project, known)
                raise problems.error(409, "There is nothing to send again: its body is gone, or never could be signed.")
    except NotFound:
        raise _no_delivery() from None
    return responses.json(shapes.Sent(id=delivery_id), status=202)


def creation_fields() -> list[Field]:
    """What POST takes."""
    return [
        Field(name="url", read=validation.text(longest=address.LONGEST_URL), required=True),
        Field(name="triggers", read=_triggers, required=True, is_json=True),
        Field(name="content", read=validation.choice(*get_args(Content))),
        Field(name="ordering", read=validation.choice(*get_args(Ordering))),
        Field(name="concurrency", read=_number(1, MOST_CONCURRENCY), is_json=True),
        Field(name="secret", read=validation.choice("project", "own")),
    ]


def patch_fields() -> list[Field]:
    """What PATCH takes."""
    return [
        Field(name="url", read=validation.text(longest=address.LONGEST_URL)),
        Field(name="triggers", read=_triggers, is_json=True),
        Field(name="content", read=validation.choice(*get_args(Content))),
        Field(name="ordering", read=validation.choice(*get_args(Ordering))),
        Field(name="concurrency", read=_number(1, MOST_CONCURRENCY), is_json=True),
        Field(name="enabled", read=_flag, is_json=True),
    ]


def _triggers(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise Invalid("A list of at least one trigger.")
    given = cast(list[object], value)
    for trigger in given:
        if trigger not in KNOWN_TRIGGERS:
            raise Invalid(f"Triggers are: {', '.join(KNOWN_TRIGGERS)}.")
    texts = cast(list[str], given)
    if len(set(texts)) < len(texts):
        raise Invalid("A trigger is named twice.")
    return texts


def _number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not least <= whole <= most:
            raise Invalid(f"A whole number from {least} to {most}.")
        return whole

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid("true or false.")
    return value


_OVERLAP = Field(name="overlap_hours", read=_number(0, int(LONGEST_OVERLAP.total_seconds() // 3600)), is_json=True)


def _overlap(values: dict[str, Any]) -> timedelta:
    return timedelta(hours=values.get("overlap_hours", 24))


def _examine(service: Services, url: str) -> None:
    """Look the URL's host up; raises a 400 problem that says why webhooks do not go there."""
    settings = service.settings
    policy = address.policy(
        http=settings.webhook_allow_http, networks=settings.webhook_allowed_networks, ports=settings.webhook_ports
    )
    try:
        with service.limits.looking_up():
            client.examine(url, policy)
    except Refused as refusal:
        raise problems.fields({"url": [str(refusal)]}) from None


def _text(value: str | None) -> str | None:
    """What PostgreSQL could have; nothing has a NUL in it."""
    return None if value is None else value.replace("\x00", "\ufffd")


def _found(request: Request[Any, Any, Any], webhook_id: str) -> Subscription:
    try:
        with services.of(request).db.single() as conn:
            return subscriptions.get(conn, auth.project_id(request), identifiers.known(webhook_id, "webhook"))
    except NotFound:
        raise _no_webhook() from None


def _rotated(secret: str, overlap: timedelta, *, now: datetime) -> Response[bytes]:
    until = now + overlap if overlap else None
    return _no_store(responses.json(shapes.SigningSecret(signing_secret=secret, former_secret_until=until)))


def _no_store(answer: Response[bytes]) -> Response[bytes]:
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _no_webhook() -> problems.Problem:
    return problems.error(404, "Webhook not found")


def _no_delivery() -> problems.Problem:
    return problems.error(404, "Delivery not found")


_POST = "POST, OPTIONS"

HANDLERS = [
    methods.others(PATH, methods.COLLECTION),
    methods.others(ITEM_PATH, methods.ITEM),
    methods.others(ROTATE_PATH, _POST),
    methods.others(PROJECT_SECRET_PATH, _POST),
    methods.others(TEST_PATH, _POST),
    methods.others(RECOVER_PATH, _POST),
    methods.others(DELIVERIES_PATH, methods.READ_ONLY),
    methods.others(DELIVERY_PATH, methods.READ_ONLY),
    methods.others(RESEND_PATH, _POST),
    list_webhooks,
    create_webhook,
    get_webhook,
    patch_webhook,
    delete_webhook,
    rotate_webhook_secret,
    rotate_project_secret,
    send_test_event,
    recover_webhook,
    list_deliveries,
    get_delivery,
    resend_delivery,
]
