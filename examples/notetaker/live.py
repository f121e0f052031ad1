"""Tells open pages that there is something new: server-sent events, one queue for each page."""

import asyncio
from collections.abc import AsyncGenerator

HEARTBEAT = 15.0
BYE = "bye"


class Pages:
    """The pages that are open now, by user. `tell` may be called from any thread."""

    def __init__(self) -> None:
        self._open: dict[str, set[asyncio.Queue[str]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self, user_id: str) -> None:
        """Have the user's pages read again."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, user_id)

    def _put(self, user_id: str) -> None:
        for page in self._open.get(user_id, ()):
            page.put_nowait("changed")

    def close(self) -> None:
        """End all streams."""
        for pages in self._open.values():
            for page in pages:
                page.put_nowait(BYE)

    def start(self) -> None:
        """Remember the loop that pages are served on."""
        self._loop = asyncio.get_running_loop()

    async def stream(self, user_id: str) -> AsyncGenerator[dict[str, str], None]:
        """What one page is told, until it is closed."""
        mine: asyncio.Queue[str] = asyncio.Queue()
        self._open.setdefault(user_id, set()).add(mine)
        try:
            yield {"event": "hello", "data": ""}
            while True:
                try:
                    event = await asyncio.wait_for(mine.get(), HEARTBEAT)
                except TimeoutError:
                    event = "beat"
                if event == BYE:
                    return
                yield {"event": event, "data": ""}
        finally:
            self._open[user_id].discard(mine)
