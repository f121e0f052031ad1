"""A runner in memory, which does as it is told: for tests and for trying things out."""

import threading
from collections.abc import Callable

from calendar_pipeline.bots.port import Down, GivenBack, Kept, Order, Refused, Taken


class FakeRunner:
    """Remembers what it took and gave back. `answer` and `keep` may fail instead: nothing was taken, or given back."""

    def __init__(self, answer: Callable[[Order], Taken | Refused | Down | None] = lambda _: None) -> None:
        self.answer = answer
        self.running: dict[str, Order] = {}
        self.asked: list[str] = []
        self.recalled: list[str] = []
        self.keep: Callable[[Order], Kept | Down | None] = lambda _: None
        self._lock = threading.Lock()

    def launch(self, order: Order) -> Taken | Refused | Down:
        """Take the bot, unless `answer` says otherwise. One key is one bot."""
        with self._lock:
            self.asked.append(order.key)
            refusal = self.answer(order)
            if refusal is not None and not isinstance(refusal, Taken):
                return refusal
            self.running.setdefault(order.key, order)
            return refusal or Taken(f"runner-{order.key}")

    def recall(self, order: Order) -> GivenBack | Kept | Down:
        """Give the bot back, unless `keep` says otherwise."""
        with self._lock:
            self.recalled.append(order.key)
            if (answer := self.keep(order)) is not None:
                return answer
            self.running.pop(order.key, None)
            return GivenBack()
