"""Methods that a path does not have, and OPTIONS, which every path has."""

from typing import Any, cast

import msgspec
from litestar import HttpMethod, MediaType, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from api import auth, problems

BASE = "/api/v1"

ITEM = "GET, PATCH, DELETE, HEAD, OPTIONS"
COLLECTION = "GET, POST, HEAD, OPTIONS"
READ_ONLY = "GET, HEAD, OPTIONS"
ACTION = "POST, OPTIONS"
SETTABLE = "GET, PUT, HEAD, OPTIONS"
CLEARABLE = "GET, PUT, DELETE, HEAD, OPTIONS"
DELETABLE = "DELETE, OPTIONS"

ASKED = "calendar_pipeline.method"
"""Key in the ASGI scope: the method as the client sent it."""


def others(path: str, allow: str) -> HTTPRouteHandler:
    """The handler for all methods of `path` but those in `allow`, in whose order they are told; and for OPTIONS.

    Register it before the path's other handlers: to a path without OPTIONS, Litestar adds its own.
    """
    allowed = set(allow.split(", "))
    methods = [method for method in HttpMethod if method == HttpMethod.OPTIONS or method.value not in allowed]

    @route(
        path,
        http_method=methods,
        sync_to_thread=False,
        name=f"others {path}",
        status_code=200,
        opt={auth.SCOPE: auth.ANY},
    )
    def other_methods(request: Request[Any, Any, Any]) -> Response[bytes]:
        asked = str(cast(dict[str, Any], request.scope)[ASKED])
        if asked != "OPTIONS":
            raise problems.not_allowed(asked, allow)
        body = {"renders": ["application/json"], "parses": ["application/json"] if "POST" in allowed else []}
        return Response(content=msgspec.json.encode(body), headers={"Allow": allow}, media_type=MediaType.JSON)

    return other_methods
