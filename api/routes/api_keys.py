"""The project's API keys and its audit log. Paths of our own."""

from datetime import datetime
from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import (
    auth,
    identifiers,
    methods,
    own,
    positions,
    problems,
    records,
    responses,
    services,
    validation,
)
from api.body import Posted
from api.positions import Position
from api.validation import Field, Invalid
from calendar_pipeline.errors import NotFound
from calendar_pipeline.projects import audit, model
from calendar_pipeline.projects import store as projects

PATH = "/api_keys"
ITEM_PATH = "/api_keys/{key_id:str}"
AUDIT_PATH = "/audit_log"

MANAGE = {auth.SCOPE: "keys:manage"}


@get(PATH, sync_to_thread=True, opt=MANAGE)
def list_api_keys(request: Request[Any, Any, Any]) -> Response[bytes]:
    """All keys of the project, revoked ones too, oldest first."""
    own.parameters(request)
    with services.of(request).db.single() as conn:
        found = projects.keys(conn, auth.project_id(request))
    return responses.json(records.ApiKeys(results=[records.api_key(key) for key in found]))


@post(PATH, sync_to_thread=True, opt=MANAGE)
def create_api_key(request: Request[Any, Any, Any], posted: NamedDependency[Posted]) -> Response[bytes]:
    """A new key, which may do no more than the one that makes it. It is shown this once."""
    own.parameters(request)
    service, holder = services.of(request), auth.key_of(request)
    given = validation.check(posted, FIELDS)
    now = service.clock()
    expires_at: datetime | None = given.get("expires_at")
    if expires_at is not None and expires_at <= now:
        raise problems.fields({"expires_at": ["This instant is past."]})
    if more := sorted(scope for scope in given["scopes"] if not holder.may(scope)):
        raise problems.fields({"scopes": [f"This key cannot give what it has not: {', '.join(more)}."]})
    if holder.expires_at is not None and (expires_at is None or expires_at > holder.expires_at):
        raise problems.fields({"expires_at": ["A key cannot make one that outlives it."]})
    with service.db.begin() as conn:
        made = projects.create_key(
            conn,
            holder.project_id,
            now=now,
            name=given.get("name", ""),
            scopes=given["scopes"],
            expires_at=expires_at,
        )
    return responses.json(records.new_api_key(made.key, made.secret), status=201)


@delete(ITEM_PATH, sync_to_thread=True, status_code=200, opt=MANAGE)
def revoke_api_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> Response[bytes]:
    """Refuse the key from now on; also the one that asks."""
    own.parameters(request)
    service = services.of(request)
    try:
        with service.db.begin() as conn:
            projects.revoke_key(conn, auth.project_id(request), identifiers.known(key_id, "key"), now=service.clock())
    except NotFound:
        raise problems.error(404, "There is no such key in this project.") from None
    return responses.empty()


@get(AUDIT_PATH, sync_to_thread=True, opt={auth.SCOPE: "audit:read"})
def list_audit_log(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Every write that was asked for in the project, in order."""
    query = own.parameters(request, "cursor", "limit")
    limit, project, after = own.limit(query), auth.project_id(request), 0
    if "cursor" in query:
        position = positions.read(query["cursor"], listing="audit")
        if position.of != project:
            raise problems.error(404, "There is no such cursor in this project.")
        after = positions.number(position)
    with services.of(request).db.single() as conn:
        found = audit.entries(conn, project, after=after, limit=limit + 1)
    more = len(found) > limit
    log = records.AuditLog(
        results=[records.audit_entry(entry) for entry in found[:limit]],
        has_more=more,
        next_cursor=positions.write(Position("audit", project, found[limit - 1].sequence)) if more else None,
    )
    return responses.json(log)


def _scopes(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise Invalid("A list of scopes, at least one.")
    known = {*model.SCOPES, model.EVERYTHING}
    for scope in value:  # pyright: ignore[reportUnknownVariableType] - JSON
        if not isinstance(scope, str) or scope not in known:
            raise Invalid(f"Known scopes: {', '.join(model.SCOPES)}, and * for all.")
    return value  # pyright: ignore[reportUnknownVariableType]


FIELDS = (
    Field(name="name", read=validation.text(longest=255)),
    Field(name="scopes", read=_scopes, required=True, is_json=True),
    Field(name="expires_at", read=validation.instant),
)

HANDLERS = [
    methods.others(PATH, methods.COLLECTION),
    methods.others(ITEM_PATH, methods.DELETABLE),
    methods.others(AUDIT_PATH, methods.READ_ONLY),
    list_api_keys,
    create_api_key,
    revoke_api_key,
    list_audit_log,
]
