"""Reading a provider's JSON without trusting its shape, and telling it an instant. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

Json = Mapping[str, object]


def as_object(value: object) -> Json:
    """The value if it is an object, an empty one for anything else."""
    return cast("Json", value) if isinstance(value, dict) else {}


def text(raw: Json, key: str) -> str | None:
    """The string under `key`, or None for anything else."""
    value = raw.get(key)
    return value if isinstance(value, str) else None


def mapping(raw: Json, key: str) -> Json:
    """The object under `key`, or an empty one for anything else."""
    return as_object(raw.get(key))


def objects(raw: Json, key: str) -> list[Json]:
    """The objects in the array under `key`; what is no object is left out."""
    value = raw.get(key)
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", entry) for entry in entries if isinstance(entry, dict)]


def rfc3339(at: datetime) -> str:
    """An aware instant in UTC, to the second, as both providers take it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
