"""``/openapi.json``: the document. ``/docs`` shows it as a page."""

from importlib.metadata import version
from typing import Any

from litestar import Request, Response, get

from api import methods, openapi, responses, services

PATH = "/openapi.json"


@get(PATH, sync_to_thread=False)
def openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The description of this API."""
    settings = services.of(request).settings
    return responses.json(openapi.document(settings, version=version("calendar-pipeline"), base=methods.BASE))


HANDLERS = [methods.others(PATH, methods.READ_ONLY), openapi_document]
