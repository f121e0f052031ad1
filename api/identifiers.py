"""Ids that clients send: what could not be one is not looked up."""

import re

from calendar_pipeline.errors import NotFound

FORM = re.compile(r"[a-z]{1,16}_[A-Za-z0-9]{16}", re.ASCII)


def could_be(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an id with this prefix."""
    return text.startswith(f"{prefix}_") and FORM.fullmatch(text) is not None


def known(text: str, prefix: str) -> str:
    """The id, if it could be one; raises NotFound."""
    if not could_be(text, prefix):
        raise NotFound(text)
    return text
