"""Field rules for request bodies. All wrong fields are told together, and only then what is wrong with the whole."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from api import problems, timestamps
from api.body import Posted, parse_json
from calendar_pipeline.settings import Settings

REQUIRED = "This field is required."
NULL = "This field may not be null."
BLANK = "This field may not be blank."
NOT_TEXT = "Not a valid string."
NUL = "Null characters are not allowed."
NO_OBJECT = "Metadata must be an object not an array or other type"
NO_KEY = "Metadata must have at least one key"
MOST_KEY_BYTES = 2048


class Invalid(Exception):
    """A field's value is refused; the message is for the client.

    For some settings objects the client is told by key: then `parts` stands in the message's place.
    """

    def __init__(self, message: str = "", *, parts: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.parts = parts

    @property
    def told(self) -> object:
        """The field's entry in the answer."""
        return [str(self)] if self.parts is None else self.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A key that a body may have, and how its value is read; `read` raises Invalid, and never sees null."""

    name: str
    read: Callable[[object], object]
    required: bool = False
    is_json: bool = False
    """In a form, the value is JSON text."""


def check(posted: Posted, fields: Sequence[Field], *, is_lenient: bool = False) -> dict[str, Any]:
    """The values of the fields that were given; raises a 400 problem. Unknown keys are refused, unless `is_lenient`."""
    data = mapping(posted.data)
    values: dict[str, Any] = {}
    wrong: dict[str, object] = {}
    for field in fields:
        if field.name not in data or (posted.is_form and not field.required and data[field.name] == ""):
            if field.required:
                wrong[field.name] = [REQUIRED]
            continue
        try:
            values[field.name] = _value(field, data[field.name], is_form=posted.is_form)
        except Invalid as refusal:
            wrong[field.name] = refusal.told
    if wrong:
        raise problems.fields(wrong)
    if is_lenient:
        return values
    allowed = sorted(field.name for field in fields)
    if unexpected := sorted(set(data) - set(allowed)):
        raise problems.whole(f"Unexpected field(s): {', '.join(unexpected)}. Allowed fields are: {', '.join(allowed)}")
    return values


def text(*, longest: int | None = None) -> Callable[[object], str]:
    """A text that is trimmed and not blank; numbers are written out."""

    def read(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Invalid(NOT_TEXT)
        trimmed = str(value).strip()
        if not trimmed:
            raise Invalid(BLANK)
        if "\x00" in trimmed:
            raise Invalid(NUL)
        if longest is not None and len(trimmed) > longest:
            raise Invalid(f"Ensure this field has no more than {longest} characters.")
        return trimmed

    return read


def deduplication_key(value: object) -> str:
    """A text as above. It is unique, and PostgreSQL's indexes hold no more than 2704 bytes of one."""
    read = text(longest=1024)(value)
    if len(read.encode(errors="replace")) > MOST_KEY_BYTES:
        raise Invalid(f"Ensure this field has no more than {MOST_KEY_BYTES} bytes.")
    return read


def choice(*choices: str) -> Callable[[object], str]:
    """One of `choices`, letter for letter."""

    def read(value: object) -> str:
        if isinstance(value, dict | list):
            raise Invalid(NOT_TEXT)
        if value not in choices:
            raise Invalid(f'"{value}" is not a valid choice.')
        return cast(str, value)

    return read


def instant(value: object) -> datetime:
    """An ISO 8601 instant."""
    at = timestamps.parse(value) if isinstance(value, str) else None
    if at is None:
        raise Invalid(f"An ISO 8601 instant, such as {timestamps.EXAMPLE}.")
    return at


def metadata_field(settings: Settings) -> Field:
    """``metadata`` as the settings limit it."""
    rule = metadata(longest=settings.max_metadata_length, only_texts=settings.require_string_values_in_metadata)
    return Field(name="metadata", read=rule, is_json=True)


def metadata(*, longest: int, only_texts: bool) -> Callable[[object], Mapping[str, object]]:
    """A small object of the client's own. `longest` counts Python's default JSON text of it."""

    def read(value: object) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise Invalid(NO_OBJECT)
        given = cast(dict[str, object], value)
        if not given:
            raise Invalid(NO_KEY)
        if only_texts:
            for key, item in given.items():
                if not isinstance(item, str):
                    raise Invalid(f"Value for key '{key}' must be a string")
        if len(json.dumps(given)) > longest:
            raise Invalid(f"Metadata must be less than {longest} characters")
        if has_nul(given):
            raise Invalid(NUL)
        return given

    return read


def _value(field: Field, value: object, *, is_form: bool) -> object:
    if value is None:
        raise Invalid(NULL)
    if is_form and field.is_json and isinstance(value, str):
        return field.read(_json(value))
    return field.read(value)


def mapping(data: object) -> dict[str, object]:
    """The body's keys and values; raises a 400 problem if it is no object."""
    if data is None:
        raise problems.whole("No data provided")
    if not isinstance(data, dict):
        raise problems.whole(f"Invalid data. Expected a dictionary, but got {type(data).__name__}.")
    return cast(dict[str, object], data)


def _json(value: str) -> object:
    """The JSON in a form's text, or the text itself where it is none: the field's rule then refuses it."""
    try:
        return parse_json(value.encode())
    except problems.Problem:
        return value


def has_nul(value: object) -> bool:
    """Whether there is a NUL anywhere in `value`, which PostgreSQL could not store."""
    match value:
        case str():
            return "\x00" in value
        case dict():
            items = cast(dict[str, object], value)
            return any(map(has_nul, items)) or any(map(has_nul, items.values()))
        case list():
            return any(map(has_nul, cast(list[object], value)))
        case _:
            return False
