"""What is asked of whoever runs bots. Pure.

A runner knows a bot by `Order.key`: asked twice for one key it has one bot. So whoever asks may ask again after a
time-out, a crash or a restart, and need not know how far the first request came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A bot to run."""

    bot_id: str
    key: str
    project_id: str
    name: str
    meeting_url: str
    join_at: datetime | None
    """None: at once."""
    metadata: Mapping[str, object] | None
    settings: Mapping[str, object] = field(repr=False)
    webhooks: Sequence[Mapping[str, object]] = ()
    is_repeat: bool = False
    """It was asked for before, with what success is not known."""
    runner_bot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The runner has the bot."""

    runner_bot_id: str | None


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The runner does not have the bot, or makes it leave."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The runner has the bot and cannot give it back."""

    code: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The runner does not take this bot, now or later."""

    code: str


@dataclass(frozen=True, slots=True)
class Down:
    """The runner did not answer, or not sensibly: ask again. Whether it has the bot is not known."""

    code: str


class BotRunner(Protocol):
    """Runs bots. Neither function raises for what a runner answers, or for its silence."""

    def launch(self, order: Order) -> Taken | Refused | Down:
        """Have the bot run. Safe to ask again."""
        ...

    def recall(self, order: Order) -> GivenBack | Kept | Down:
        """Have the bot given back, or made to leave. Safe to ask again."""
        ...
