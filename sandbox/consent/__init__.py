"""What a provider shows a person: choose an account, tick what the application may do, allow or refuse.

The words are ours; what comes back to the application is the provider's.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined


class Scope(msgspec.Struct, frozen=True):
    """Something the application asks for."""

    name: str
    text: str
    """What it means to a person."""
    is_optional: bool
    """Whether the person can untick it."""


class Asked(msgspec.Struct, frozen=True):
    """The question that is put to a person."""

    provider: str
    client: str
    query: dict[str, str]
    """The authorize request's own parameters; they come along from page to page."""
    scopes: Sequence[Scope]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("sandbox", "consent"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def choose(asked: Asked, accounts: Sequence[str]) -> bytes:
    """The page with the accounts."""
    return _page("choose.html", asked=asked, accounts=accounts)


def ask(asked: Asked, account: str) -> bytes:
    """The page with what is asked for."""
    return _page("ask.html", asked=asked, account=account)


def refuse(provider: str, code: str, text: str) -> bytes:
    """The page for a request that goes no further and comes back to nobody."""
    return _page("refuse.html", provider=provider, code=code, text=text)


def _page(template: str, **values: object) -> bytes:
    style = resources.files("sandbox.consent").joinpath("style.css").read_text()
    return _environment().get_template(template).render(style=style, **values).encode()
