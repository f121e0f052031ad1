"""Microsoft Graph's change notifications as a `PushProvider`.

Graph validates the address while it answers the request for a subscription, so our API must be up by then. Lifecycle
notifications go to the same address; `reauthorizationRequired` is answered by a renewal, which does both.
Source: Microsoft Graph v1.0, "subscription" and "Receive change notifications through webhooks".
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import quote

from calendar_pipeline.errors import (
    ChannelGone,
    ContractBroken,
    ProviderError,
    PushRefused,
    RateLimited,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.json_values import Json, objects, rfc3339, text
from calendar_pipeline.providers.microsoft import classify
from calendar_pipeline.providers.port import Grant, Meter
from calendar_pipeline.providers.push import Ask, Watch
from calendar_pipeline.providers.transport import Answer, Transport

CHANGES = "created,updated,deleted"
AGAIN = timedelta(days=1)
"""After a refusal that may change with time: too many subscriptions, no right to them."""

MOST_LISTED = 20
"""Pages read of an application's subscriptions at one mailbox; there are at most 1,000."""


class MicrosoftPush:
    """Makes, renews and deletes subscriptions; safe to share among threads."""

    def __init__(self, transport: Transport, *, graph_base_url: str, clock: Callable[[], datetime]) -> None:
        self._transport = transport
        self._base = f"{graph_base_url.rstrip('/')}/v1.0"
        self._clock = clock

    @property
    def platform(self) -> Platform:
        """``microsoft``."""
        return "microsoft"

    @property
    def renews(self) -> bool:
        """Yes, by PATCH."""
        return True

    def watch(self, grant: Grant, calendar: str | None, ask: Ask, *, meter: Meter) -> Watch:
        """`POST /subscriptions`. One that stands in the way is our own from a lost answer: it is deleted."""
        resource = "me/calendar/events" if calendar is None else f"me/calendars/{quote(calendar, safe='')}/events"
        body = {
            "changeType": CHANGES,
            "notificationUrl": ask.address,
            "lifecycleNotificationUrl": ask.address,
            "resource": resource,
            "expirationDateTime": rfc3339(ask.until),
            "clientState": ask.token,
        }
        answer = self._send("POST", "/subscriptions", grant, meter, body)
        if answer.status == 409:
            self._clear(grant, resource, meter)
            answer = self._send("POST", "/subscriptions", grant, meter, body)
        if answer.status != 201:
            raise self._refused(answer)
        return self._read(ask.channel, answer)

    def renew(self, grant: Grant, watch: Watch, *, until: datetime, meter: Meter) -> Watch:
        """`PATCH /subscriptions/{id}`."""
        answer = self._send("PATCH", _path(watch), grant, meter, {"expirationDateTime": rfc3339(until)})
        if answer.status == 404:
            raise ChannelGone("subscription_gone")
        if answer.status != 200:
            raise self._refused(answer)
        return self._read(watch.channel, answer)

    def stop(self, grant: Grant, watch: Watch, *, meter: Meter) -> None:
        """`DELETE /subscriptions/{id}`; one that is gone or not ours to delete is stopped for us."""
        answer = self._send("DELETE", _path(watch), grant, meter, None)
        if answer.status in (204, 404):
            return
        error = classify.graph_error(answer.status, answer.headers, answer.body, with_cursor=False, now=self._clock())
        if isinstance(error, TryLater):
            raise error

    def _clear(self, grant: Grant, resource: str, meter: Meter) -> None:
        """Delete the application's subscriptions to this resource."""
        path = "/subscriptions"
        for _ in range(MOST_LISTED):
            page = self._json(self._send("GET", path, grant, meter, None))
            for one in objects(page, "value"):
                if (text(one, "resource") or "").strip("/").lower() == resource.lower() and (name := text(one, "id")):
                    self._send("DELETE", f"/subscriptions/{quote(name, safe='')}", grant, meter, None)
            link = text(page, "@odata.nextLink")
            if link is None or not link.startswith(f"{self._base}/"):
                return
            path = link[len(self._base) :]

    def _read(self, channel: str, answer: Answer) -> Watch:
        body = self._json(answer)
        remote, ends = text(body, "id"), text(body, "expirationDateTime")
        if remote is None or ends is None:
            raise ContractBroken("subscription_without_end")
        try:
            at = datetime.fromisoformat(ends)
        except ValueError:
            raise ContractBroken("subscription_without_end") from None
        return Watch(channel=channel, remote_id=remote, expires_at=at if at.tzinfo else at.replace(tzinfo=UTC))

    def _refused(self, answer: Answer) -> ProviderError:
        """The error for a refused POST or PATCH."""
        refusal = classify.read(answer.body)
        code = refusal.codes[0] if refusal.codes else f"http_{answer.status}"
        error = classify.graph_error(answer.status, answer.headers, answer.body, with_cursor=False, now=self._clock())
        if isinstance(error, RateLimited | TokenRefused):
            return error
        if answer.status == 400:
            return TryLater(code, "refused: can Graph reach PUBLIC_BASE_URL?")
        if answer.status in (403, 404, 409):
            return PushRefused(code, again_after=AGAIN)
        return error

    def _json(self, answer: Answer) -> Json:
        if answer.status not in (200, 201):
            raise self._refused(answer)
        try:
            body: object = json.loads(answer.body)
        except ValueError:
            raise TryLater("not_json") from None
        if not isinstance(body, dict):
            raise TryLater("not_json")
        return cast("Json", body)

    def _send(self, method: str, path: str, grant: Grant, meter: Meter, body: Mapping[str, object] | None) -> Answer:
        headers = {
            "authorization": f"Bearer {grant.access_token}",
            "accept": "application/json",
            "prefer": 'IdType="ImmutableId"',
        }
        if body is not None:
            headers["content-type"] = "application/json"
        sent = None if body is None else json.dumps(body)
        with meter.turn():
            answer = self._transport.request(method, self._base + path, headers=headers, body=sent)
        meter.count(len(answer.body))
        return answer


def _path(watch: Watch) -> str:
    if watch.remote_id is None:
        raise ChannelGone("subscription_unknown")
    return f"/subscriptions/{quote(watch.remote_id, safe='')}"
