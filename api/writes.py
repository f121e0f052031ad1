"""What holds for every write below ``/api/v1`` without its handler's help: budget, audit, idempotency.

`begin` runs after the guards and before the body is looked at; `wrap` sees the answer before the client does.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import msgspec
from anyio import to_thread
from litestar import Request, Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError

from api import auth, identifiers, limits, problems, services
from api.services import Services
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.projects import audit, idempotency
from calendar_pipeline.projects.idempotency import Answered, Busy, Mismatch, Ours

log = logging.getLogger(__name__)

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BUDGETED = {"/api/v1/calendars": "post", "/api/v1/bots": "post", "/api/v1/connect_links": "link"}
"""POSTs to these take from a budget of the project: the contract has one for calendars and bots together."""

HEADER = "idempotency-key"
LONGEST = 255

STATE = "calendar_pipeline.write"
REQUEST_ID = "calendar_pipeline.request_id"
"""Keys in the ASGI scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write under way."""

    service: Services
    project_id: str
    actor: str
    action: str
    subject: str | None
    request_id: str
    key: str | None = None
    ours: Ours | None = None


async def begin(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Litestar's hook before a handler: refuses, gives the answer of before, or lets the handler do it."""
    scope = cast(dict[str, Any], request.scope)
    if scope["method"] not in WRITES or scope["route_handler"].opt.get(auth.SCOPE) == auth.ANY:
        return None
    key = _key(request) if scope["method"] == "POST" else None
    fingerprint = await _fingerprint(request) if key else b""
    return await to_thread.run_sync(_begin, request, key, fingerprint)


def _begin(request: Request[Any, Any, Any], key: str | None, fingerprint: bytes) -> Response[bytes] | None:
    scope = cast(dict[str, Any], request.scope)
    service, holder = services.of(request), auth.key_of(request)
    ours: Ours | None = None
    if scope["method"] == "POST" and (budget := BUDGETED.get(scope["path_template"])):
        each = service.settings.project_posts_per_minute
        limits.of_creation(service.db, budget, holder.project_id, per_minute=each)
    now = service.clock()
    with service.db.single() as conn:
        if key is not None:
            match _take(conn, service, holder.project_id, key, fingerprint):
                case Ours() as ours:
                    pass
                case Answered() as answered:
                    return _again(answered)
                case Busy():
                    raise problems.detail(
                        409, "A request with this Idempotency-Key is being answered.", headers={"Retry-After": "1"}
                    )
                case Mismatch():
                    raise problems.detail(
                        422, "This Idempotency-Key was used for another request: take a new key for each."
                    )
        write = Write(
            service=service,
            project_id=holder.project_id,
            actor=holder.id,
            action=f"{scope['method']} {scope['path_template']}",
            subject=_named(scope.get("path_params") or {}),
            request_id=scope[REQUEST_ID],
            key=key,
            ours=ours,
        )
        scope[STATE] = write
        audit.asked(
            conn,
            write.project_id,
            actor=write.actor,
            action=write.action,
            subject=write.subject,
            request_id=write.request_id,
            at=now,
        )
    return None


def wrap(app: ASGIApp) -> ASGIApp:
    """`app`, whose answers to writes are recorded before they are sent."""

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        held: list[Message] = []

        async def tell(message: Message) -> None:
            write: Write | None = cast(dict[str, Any], scope).get(STATE)
            if write is None:
                await send(message)
                return
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                await to_thread.run_sync(_finish, write, held)
                for one in held:
                    await send(one)

        await app(scope, receive, tell)

    return recorded


def _finish(write: Write, held: list[Message]) -> None:
    start: Any = held[0]
    status: int = start["status"]
    headers = {name.lower(): value for name, value in start["headers"]}
    body = b"".join(cast(Any, message)["body"] for message in held[1:])
    now = write.service.clock()
    try:
        with write.service.db.single() as conn:
            if write.key is not None and write.ours is not None:
                if status >= 500 or status == 429:
                    idempotency.release(conn, write.project_id, write.key, token=write.ours.token)
                else:
                    idempotency.finish(
                        conn,
                        write.service.keyring,
                        write.project_id,
                        write.key,
                        token=write.ours.token,
                        status=status,
                        content_type=headers.get(b"content-type", b"").decode() or None,
                        answer=body,
                    )
            audit.answered(
                conn,
                write.project_id,
                actor=write.actor,
                action=write.action,
                subject=write.subject or _made(status, body),
                request_id=write.request_id,
                status=status,
                at=now,
            )
    except SQLAlchemyError as trouble:
        log.error("the answer to %s is not recorded: %s", write.request_id, type(trouble).__qualname__)  # noqa: TRY400 - its message may quote


def _take(
    conn: Any, service: Services, project_id: str, key: str, fingerprint: bytes
) -> Ours | Answered | Busy | Mismatch:
    try:
        return idempotency.begin(conn, service.keyring, project_id, key, fingerprint=fingerprint, now=service.clock())
    except CredentialUnreadable:
        raise problems.detail(
            409, "It was done, but the kept answer cannot be opened any more: ask for what was made."
        ) from None


def _key(request: Request[Any, Any, Any]) -> str | None:
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    if len(given) != 1 or not 0 < len(given[0]) <= LONGEST or not all(" " <= letter <= "~" for letter in given[0]):
        raise problems.detail(400, f"Idempotency-Key is one header of 1 to {LONGEST} visible ASCII characters.")
    return given[0]


async def _fingerprint(request: Request[Any, Any, Any]) -> bytes:
    """Of all that makes the request what it is."""
    scope = cast(dict[str, Any], request.scope)
    parts = (
        scope["method"].encode(),
        scope["path"].encode(),
        scope["query_string"],
        request.headers.get("content-type", "").encode(),
        await request.body(),
    )
    return sha256(b"\0".join(sha256(part).digest() for part in parts)).digest()


def _again(answered: Answered) -> Response[bytes]:
    return Response(
        content=answered.answer,
        status_code=answered.status,
        media_type=answered.content_type,
        headers={"Idempotent-Replayed": "true"},
    )


def _named(parameters: Mapping[str, object]) -> str | None:
    """The id in the path, if it has one's form: what clients make up is not written down."""
    return next((text for text in map(str, parameters.values()) if identifiers.FORM.fullmatch(text)), None)


class _Made(msgspec.Struct):
    id: str


def _made(status: int, body: bytes) -> str | None:
    """The id of what a good answer says was made."""
    if not 200 <= status < 300 or not body:
        return None
    try:
        made = msgspec.json.decode(body, type=_Made).id
    except msgspec.MsgspecError:
        return None
    return made if identifiers.FORM.fullmatch(made) else None
