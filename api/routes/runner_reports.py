"""``/external_webhooks/bot_runner/…``: where the runner tells how its bots fare.

Only an address that we made is heard, and where a secret is set, only a body that is signed with it.
"""

from typing import Any, cast

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from api import methods, problems, responses, services
from calendar_pipeline.bots import reports

PATH = reports.PATH + "/{secret:str}"
LARGEST = 64 * 1024
ALLOW = "POST, OPTIONS"


async def body(request: Request[Any, Any, Any]) -> bytes:
    """The request's body; raises 413 if it is larger than `LARGEST`."""
    return await request.body()


@post(PATH, sync_to_thread=True, status_code=200, request_max_body_size=LARGEST, dependencies={"raw": Provide(body)})
def report(request: Request[Any, Any, Any], raw: NamedDependency[bytes], secret: FromPath[str]) -> Response[bytes]:
    """A report of one launch. What is no news or not understood is accepted, so that it is not sent again."""
    service = services.of(request)
    bot = reports.addressee(service.keyring, secret)
    if bot is None:
        raise problems.error(404, "Not found")
    try:
        told = cast(object, msgspec.json.decode(raw))
    except msgspec.DecodeError:
        raise problems.error(400, "The body must be JSON.") from None
    if not isinstance(told, dict):
        raise problems.error(400, "The body must be a JSON object.")
    known = service.settings.bot_runner_webhook_secret
    if known is not None:
        signature = request.headers.get("x-webhook-signature")
        if not reports.is_signed(known.get_secret_value(), cast(dict[str, object], told), signature):
            raise problems.error(403, "The signature is not the runner's.")
    news = reports.read(cast(dict[str, Any], told))
    if news is not None:
        with service.db.begin() as conn:
            reports.take(conn, *bot, news, now=service.clock())
    return responses.empty()


HANDLERS = [methods.others(PATH, ALLOW), report]
"""The routes, outside `methods.BASE`: the runner has no key of ours."""
