"""Google's watch channels as a `PushProvider`.

A channel cannot be renewed: a new one is made before the old one ends, and then the old one is stopped.
Source: Calendar API, "Push notifications".
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from calendar_pipeline.errors import (
    AccessRevoked,
    ChannelGone,
    ContractBroken,
    OperatorMustAct,
    ProviderError,
    PushRefused,
    TryLater,
)
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.google import classify, service
from calendar_pipeline.providers.json_values import Json, text
from calendar_pipeline.providers.port import Grant, Meter
from calendar_pipeline.providers.push import Ask, Watch
from calendar_pipeline.providers.transport import Transport

UNSUPPORTED = "pushNotSupportedForRequestedResource"
"""Holidays, birthdays and some imported calendars."""


class GooglePush:
    """Makes and stops channels; safe to share among threads."""

    def __init__(self, transport: Transport, *, api_base_url: str, clock: Callable[[], datetime]) -> None:
        self._transport = transport
        self._events = service.events(api_base_url.rstrip("/"))
        self._channels = service.channels(api_base_url.rstrip("/"))
        self._clock = clock

    @property
    def platform(self) -> Platform:
        """``google``."""
        return "google"

    @property
    def renews(self) -> bool:
        """No."""
        return False

    def watch(self, grant: Grant, calendar: str | None, ask: Ask, *, meter: Meter) -> Watch:
        """`events.watch`. How long the channel lives is said by the answer alone."""
        body = {
            "id": ask.channel,
            "type": "web_hook",
            "address": ask.address,
            "token": ask.token,
            "expiration": str(_milliseconds(ask.until)),
        }
        answer = self._execute(self._events.watch(calendarId=calendar or "primary", body=body), grant, meter)
        ends, resource = text(answer, "expiration"), text(answer, "resourceId")
        if ends is None or not ends.isdecimal() or resource is None:
            raise ContractBroken("channel_without_end")
        expires_at = datetime.fromtimestamp(min(int(ends) / 1000, ask.until.timestamp()), UTC)
        return Watch(channel=ask.channel, resource_id=resource, expires_at=expires_at)

    def renew(self, grant: Grant, watch: Watch, *, until: datetime, meter: Meter) -> Watch:  # noqa: ARG002
        """Google renews nothing."""
        raise ChannelGone("not_renewable")

    def stop(self, grant: Grant, watch: Watch, *, meter: Meter) -> None:
        """`channels.stop`. Whatever Google has against it but a passing trouble: there is no such channel any more."""
        body = {"id": watch.channel, "resourceId": watch.resource_id}
        try:
            self._execute(self._channels.stop(body=body), grant, meter)
        except (ContractBroken, AccessRevoked):
            return

    def _execute(self, request: Any, grant: Grant, meter: Meter) -> Json:
        from googleapiclient.errors import HttpError

        try:
            body: object = request.execute(http=service.Authorized(self._transport, grant, meter), num_retries=0)
        except HttpError as refused:
            status, headers = int(refused.resp.status), dict(refused.resp)
            raise watch_error(status, headers, refused.content, now=self._clock()) from None
        except (ValueError, RecursionError):
            raise TryLater("not_json", "an answer that is not JSON") from None
        if body in ("", b""):
            return {}
        if not isinstance(body, dict):
            raise TryLater("not_json", "an answer that is not JSON")
        return cast("Json", body)


def watch_error(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> ProviderError:
    """The error for a refused watch or stop."""
    reasons = classify.read(body).reasons
    if UNSUPPORTED in reasons:
        return PushRefused(UNSUPPORTED)
    if "channelIdNotUnique" in reasons:
        return TryLater("channelIdNotUnique")
    if address := sorted(reason for reason in reasons if reason.startswith("push.webhookUrl")):
        return OperatorMustAct(address[0], "Google does not take PUBLIC_BASE_URL")
    return classify.api_error(status, headers, body, with_cursor=False, now=now)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
