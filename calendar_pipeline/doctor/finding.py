"""What a look at one thing found."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Clock = Callable[[], datetime]

Level = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. Whatever is not well says what to do about it."""

    level: Level
    check: str
    text: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if (self.level == "ok") == bool(self.remedy):
            raise ValueError(f"{self.check}: {self.level} with the remedy {self.remedy!r}")


def found(check: str, text: str, remedy: str | None = None, *, broken: bool = False) -> Finding:
    """Well, unless there is something to do."""
    return Finding("ok" if remedy is None else "broken" if broken else "warning", check, text, remedy)
