"""Being told to stop by signals, of which several may come at once."""

import queue
import signal
import threading
from collections.abc import Iterable


def on(signals: Iterable[signal.Signals]) -> threading.Event:
    """An event that is set when one of these signals comes. For the main thread.

    No handler sets the event itself: it would wait for a lock that the code it interrupted may hold, an earlier handler
    too, and nothing would ever stop. Putting into a ``SimpleQueue`` takes none.
    """
    came: queue.SimpleQueue[int] = queue.SimpleQueue()
    stopping = threading.Event()

    def wait() -> None:
        came.get()
        stopping.set()

    threading.Thread(target=wait, name="stopping", daemon=True).start()
    for number in signals:
        signal.signal(number, lambda number, _frame: came.put(number))
    return stopping
