"""Pages for people: hosted connect's. Everything in them is escaped; they load nothing foreign and run no code."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response

STYLE_PATH = "/connect/style.css"
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'{forms}; base-uri 'none'; frame-ancestors 'none'"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("api", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=1)
def style() -> bytes:
    """The style sheet of all pages."""
    return resources.files("api.pages").joinpath("style.css").read_bytes()


def page(
    template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, forms_to: str = "", **values: object
) -> Response[bytes]:
    """A page that no other page can embed, and that tells nobody where the browser came from.

    `forms_to`: the origin that answering a form may redirect to; browsers hold redirects to the policy, too.
    """
    text = _environment().get_template(template).render(style_path=STYLE_PATH, **values)
    every = {
        "content-security-policy": POLICY.format(forms=f" {forms_to}" if forms_to else ""),
        "referrer-policy": "no-referrer",
    }
    given = {**(headers or {}), **every}
    return Response(content=text.encode(), status_code=status, headers=given, media_type=MediaType.HTML)
