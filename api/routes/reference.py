"""``/docs``: the OpenAPI document as a page to read and try. All of it is served from here."""

from litestar import Response, get
from litestar.params import FromPath

from api import methods, problems, reference

PATH = "/docs"


@get(PATH, sync_to_thread=False)
def reference_page() -> Response[bytes]:
    """The page."""
    return _file("index.html")


@get(f"{PATH}/{{name:str}}", sync_to_thread=False)
def reference_file(name: FromPath[str]) -> Response[bytes]:
    """What the page is made of."""
    if name not in reference.FILES or name == "index.html":
        raise problems.error(404, "Not found")
    return _file(name)


def _file(name: str) -> Response[bytes]:
    headers = {"content-security-policy": reference.POLICY, "cache-control": "public, max-age=3600"}
    return Response(content=reference.read(name), media_type=reference.FILES[name], headers=headers)


HANDLERS = [
    methods.others(PATH, methods.READ_ONLY),
    reference_page,
    methods.others(f"{PATH}/{{name:str}}", methods.READ_ONLY),
    reference_file,
]
