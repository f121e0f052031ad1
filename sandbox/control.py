"""The control API: `POST /_sandbox/do/{operation}` with the arguments as JSON, and GETs for what one looks at.

`POST /_sandbox/webhooks/{name}` is no control but an application's receiver of webhooks: see `webhooks`.
The operations are the methods of `World` of the same name, so there is one description of each. Errors come
as `{"error": "…"}` with 400, or 404 for what there isn't.
"""

import inspect
import typing
from asyncio import to_thread
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from sandbox.errors import Missing, Unusable
from sandbox.faults import Provider
from sandbox.world import World

_JSON = MediaType.JSON
Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        World.create_calendar,
        World.create_client,
        World.issue_refresh_token,
        World.issue_access_token,
        World.issue_code,
        World.revoke,
        World.revoke_account,
        World.credentials,
        World.set_zone,
        World.change_access,
        World.delete_calendar,
        World.create_event,
        World.patch_event,
        World.move_event,
        World.retitle_event,
        World.set_link,
        World.respond,
        World.cancel_event,
        World.delete_event,
        World.restore_event,
        World.split_series,
        World.event,
        World.events,
        World.listing,
        World.find_event,
        World.next_instance,
        World.set_switches,
        World.add_fault,
        World.clear_faults,
        World.set_clock,
        World.advance,
        World.reset_stats,
        World.channels,
        World.pushes,
        World.forge,
        World.ring,
        World.lifecycle,
        World.vanish,
        World.expect_webhooks,
        World.expects_webhooks,
        World.webhooks,
        World.clear_webhooks,
        World.create_calendars,
        World.add_demo,
        World.load,
    )
}


def _arguments(operation: Operation) -> type[msgspec.Struct]:
    """A struct with the operation's parameters, the world left out; unknown names are refused."""
    hints = typing.get_type_hints(operation)
    fields: list[Any] = []
    for parameter in list(inspect.signature(operation).parameters.values())[1:]:
        required = parameter.default is inspect.Parameter.empty
        kind = hints[parameter.name]
        fields.append((parameter.name, kind) if required else (parameter.name, kind, parameter.default))
    return msgspec.defstruct(operation.__name__, fields, kw_only=True, forbid_unknown_fields=True)


_ARGUMENTS = {name: _arguments(operation) for name, operation in OPERATIONS.items()}


def routes(world: World) -> Router:  # noqa: C901 - a list of one-line handlers
    """Everything below `/_sandbox`."""

    @post("/do/{operation:str}", status_code=200)
    async def do(operation: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        known = OPERATIONS.get(operation)
        if known is None:
            message = f"There is no operation {operation!r}. Known: {', '.join(OPERATIONS)}."
            raise Missing(message)
        raw = await request.body()
        try:
            given = msgspec.json.decode(raw or b"{}", type=_ARGUMENTS[operation])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{operation}: {error}"
            raise Unusable(message) from None
        return _answer(await to_thread(known, world, **msgspec.structs.asdict(given)))

    @get("/calendars", sync_to_thread=True)
    def calendars() -> Response[bytes]:
        return _answer(world.calendars())

    @get("/calendars/{calendar_id:str}/listing", sync_to_thread=True)
    def oracle(
        calendar_id: FromPath[str],
        time_min: FromQuery[datetime | None] = None,
        time_max: FromQuery[datetime | None] = None,
    ) -> Response[bytes]:
        return _answer(world.listing(calendar_id, time_min=time_min, time_max=time_max))

    @get("/calendars/{calendar_id:str}/events", sync_to_thread=True)
    def events(calendar_id: FromPath[str]) -> Response[bytes]:
        return _answer(world.events(calendar_id))

    @get("/calendars/{calendar_id:str}/events/{event_id:str}", sync_to_thread=True)
    def event(calendar_id: FromPath[str], event_id: FromPath[str]) -> Response[bytes]:
        return _answer(world.event(calendar_id, event_id))

    @get("/switches", sync_to_thread=True)
    def switches(
        calendar_id: FromQuery[str | None] = None, provider: FromQuery[Provider] = "google"
    ) -> Response[bytes]:
        return _answer(world.switches(calendar_id, provider=provider))

    @get("/faults", sync_to_thread=True)
    def fault_list() -> Response[bytes]:
        return _answer({"waiting": world.fault_list(), "kinds": world.fault_kinds()})

    @get("/clock", sync_to_thread=True)
    def clock() -> Response[bytes]:
        return _answer({"now": world.now(), "frozen": world.state.frozen_at is not None})

    @get("/stats", sync_to_thread=True)
    def stats() -> Response[bytes]:
        return _answer(world.stats())

    @get("/requests", sync_to_thread=True)
    def requests(last: Annotated[int, QueryParameter(ge=1, le=1000)] = 100) -> Response[bytes]:
        return _answer(world.requests(last))

    @post("/webhooks/{name:str}", status_code=200)
    async def take(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        status = await to_thread(world.take_webhook, name, dict(request.headers), await request.body())
        return Response(b"", status_code=status, media_type=MediaType.TEXT)

    handlers: list[Any] = [take, do, calendars, oracle, events, event, switches, fault_list, clock, stats, requests]
    return Router("/_sandbox", route_handlers=handlers)


def unusable(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to what the sandbox cannot do."""
    return _answer({"error": str(error)}, 404 if isinstance(error, Missing) else 400)


def _answer(value: Any, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type=_JSON, status_code=status)
