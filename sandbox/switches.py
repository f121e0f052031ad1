"""Setting switches: `google.switches` and `microsoft.switches` say which there are."""

from typing import Any, TypeVar

import msgspec

from sandbox.errors import Unusable

S = TypeVar("S", bound=msgspec.Struct)


def with_changes(switches: S, changes: dict[str, Any]) -> S:
    """`switches` with some set anew; raises `Unusable` that names the known switches and what each takes."""
    known: dict[str, Any] = msgspec.structs.asdict(switches)
    if unknown := sorted(set(changes) - set(known)):
        message = f"There is no switch {unknown[0]!r}. Known: {', '.join(known)}."
        raise Unusable(message)
    try:
        return msgspec.convert(known | changes, type(switches))
    except msgspec.ValidationError as error:
        message = f"That value does not fit the switch: {error}."
        raise Unusable(message) from None
