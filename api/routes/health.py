"""Whether this process lives, and whether it can serve. For the operator's probes; no key is needed."""

from typing import Any

from litestar import Request, Response, get
from sqlalchemy.exc import SQLAlchemyError

from api import methods, responses, services
from api.services import Services
from calendar_pipeline.db import migrate
from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets import keyfile


@get("/healthz", sync_to_thread=False)
def healthz() -> Response[bytes]:
    """The process answers. Nothing else is asked: a probe that restarts must not restart for the database's sake."""
    return responses.json({"status": "ok"})


@get("/readyz", sync_to_thread=True)
def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
    """200 if requests can be served; 503 with the reasons, each of which says what to do."""
    service = services.of(request)
    reasons = [reason for reason in (database(service), keys(service)) if reason]
    if reasons:
        return responses.json({"status": "not ready", "reasons": reasons}, status=503)
    return responses.json({"status": "ready"})


def database(service: Services) -> str | None:
    """Why the database cannot be used; None if it can."""
    try:
        migrate.check(service.db)
    except SetupError as refusal:
        return str(refusal)
    except SQLAlchemyError:
        return "The database cannot be reached: see that PostgreSQL runs and that DATABASE_URL names it."
    return None


def keys(service: Services) -> str | None:
    """Why stored secrets could not be opened; None if they can, as far as the key ring tells."""
    if service.keyring_was_given:
        return None
    try:
        ring = keyfile.load(service.settings)
    except SetupError as refusal:
        return str(refusal)
    if service.keyring.active not in ring.kids:
        return f"Key {service.keyring.active!r} is in use here but not set any more: restore it or restart the API."
    return None


HANDLERS = [
    methods.others("/healthz", methods.READ_ONLY),
    methods.others("/readyz", methods.READ_ONLY),
    healthz,
    readyz,
]
