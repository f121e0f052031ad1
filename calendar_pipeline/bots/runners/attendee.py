"""Any Attendee-compatible server as the runner: ``POST /api/v1/bots`` and what takes a bot back again.

Our bot's id is the deduplication key there. A key is free again once its bot is over, so before a repeated request the
server is asked for bots with that key, over or not: one that it finds is ours.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from calendar_pipeline.bots.model import TERMINAL
from calendar_pipeline.bots.port import Down, GivenBack, Kept, Order, Refused, Taken
from calendar_pipeline.errors import TryLater
from calendar_pipeline.providers.json_values import objects
from calendar_pipeline.providers.transport import Answer, Transport

PASSING = frozenset((408, 425, 429))
"""Refusals below 500 that are no refusals of the bot."""

MAX_ID = 255

GOING = TERMINAL | {"leaving", "post_processing"}
"""States of a bot that is out of its meeting, or leaves it: by an earlier request of ours, perhaps."""


class AttendeeRunner:
    """A client of one server, with one API key of it. Safe to share among threads."""

    def __init__(self, transport: Transport, *, base_url: str, api_key: str) -> None:
        self._transport = transport
        self._bots = f"{base_url.rstrip('/')}/api/v1/bots"
        self._headers = {"Authorization": f"Token {api_key}", "Content-Type": "application/json"}

    def launch(self, order: Order) -> Taken | Refused | Down:
        """Have the bot there, once: an earlier request may have come through although its answer did not."""
        try:
            if order.is_repeat and (known := self._find(order)) is not None:
                return Taken(_id(known))
            answer = self._ask("POST", self._bots, _body(order))
            if answer.status in (200, 201):
                return Taken(_id(_object(answer)))
            if answer.status == 400 and (known := self._find(order)) is not None:
                return Taken(_id(known))  # the key is taken: by an earlier request of ours
        except TryLater as silence:
            return Down(silence.code)
        code = f"http_{answer.status}"
        return Refused(code) if 400 <= answer.status < 500 and answer.status not in PASSING else Down(code)

    def recall(self, order: Order) -> GivenBack | Kept | Down:
        """Delete the bot there, or if it is on its way already, make it leave."""
        try:
            known = self._find(order)
            if known is None or known.get("state") in GOING:
                return GivenBack()
            path = f"{self._bots}/{quote(_id(known), safe='')}"
            answer = self._ask("DELETE", path)
            if answer.status in (200, 204, 404):
                return GivenBack()
            if answer.status == 400:
                answer = self._ask("POST", f"{path}/leave", b"{}")
                if answer.status in (200, 201, 202, 204, 404):
                    return GivenBack()
        except TryLater as silence:
            return Down(silence.code)
        code = f"http_{answer.status}"
        return Kept(code) if 400 <= answer.status < 500 and answer.status not in PASSING else Down(code)

    def _find(self, order: Order) -> Mapping[str, Any] | None:
        """The server's bot of ours, over or not; raises TryLater if it does not say."""
        answer = self._ask("GET", f"{self._bots}?{urlencode({'deduplication_key': order.key})}")
        if answer.status != 200:
            raise TryLater(f"http_{answer.status}")
        results = objects(_object(answer), "results")
        ours = [found for found in results if found.get("deduplication_key") == order.key]
        return ours[-1] if ours else None

    def _ask(self, method: str, url: str, body: bytes | None = None) -> Answer:
        return self._transport.request(method, url, headers=self._headers, body=body)


def _body(order: Order) -> bytes:
    body: dict[str, object] = {
        **order.settings,
        "bot_name": order.name,
        "meeting_url": order.meeting_url,
        "deduplication_key": order.key,
        "metadata": {"calendar_pipeline_bot_id": order.bot_id},
    }
    if order.join_at is not None:
        body["join_at"] = order.join_at
    if order.webhooks:
        body["webhooks"] = order.webhooks
    return msgspec.json.encode(body)


def _object(answer: Answer) -> dict[str, Any]:
    """The answer's JSON object; raises TryLater if it has none: something else answered in the server's place."""
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise TryLater("no_json") from None


def _id(found: Mapping[str, Any]) -> str:
    known = found.get("id")
    if not isinstance(known, str) or not 0 < len(known) <= MAX_ID or not (known.isascii() and known.isprintable()):
        raise TryLater("no_id")
    return known
