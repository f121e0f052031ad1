"""Who watches which calendar, and what they are told when it changes. How it travels is `push`'s business."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from sandbox.errors import Missing, Unusable
from sandbox.google import watch
from sandbox.ground import Ground, locked
from sandbox.microsoft import subscriptions
from sandbox.model import Channel, Subscription
from sandbox.push import Parcel, Tally, Weather
from sandbox.replies import Json

LifecycleEvent = Literal["reauthorizationRequired", "subscriptionRemoved", "missed"]
_SLOW_SHARE, _LATE_SHARE, _LATE_S = 0.15, 0.10, 10.0


class Pushes(Ground):
    """Notifications, genuine and otherwise."""

    def tell(self) -> None:
        """Send off what watchers are to hear. The caller holds the lock."""
        if self.told == self.changes:
            return
        self.told = self.changes
        now = self.now()
        for calendar_id, parcel in watch.changed(self.state, now=now, base=f"{self.base_url}/google"):
            self.courier.send(parcel, self.google_switches(calendar_id).push)
        self._post(subscriptions.changed(self.state, self.microsoft_switches, now))

    @locked
    def channels(self) -> list[Json]:
        """Google's living watch channels and Graph's subscriptions; never their tokens."""
        now = self.now()
        google = [
            {"id": one.id, "calendar_id": one.calendar_id, "address": one.address, "expires_at": one.expires_at}
            for one in self.state.channels.values()
            if one.expires_at > now
        ]
        microsoft = [
            {"id": one.id, "calendar_id": one.calendar_id, "address": one.url, "expires_at": one.expires_at}
            for one in self.state.subscriptions.values()
            if one.expires_at > now
        ]
        return google + microsoft

    def pushes(self, settle_s: float = 0.0) -> Tally:
        """What became of all notifications; waits up to `settle_s` until none is on its way."""
        self.courier.settle(within_s=settle_s)
        return self.courier.tally()

    def forge(self, calendar_id: str, what: Literal["token", "channel", "resource"] = "token") -> int:
        """Somebody else posts to the calendar's newest channel, with one thing wrong; the status they get."""
        with self.lock:
            mine = list(self._watchers(calendar_id))
            if not mine:
                message = f"Nobody watches {calendar_id}."
                raise Missing(message)
            forged = self._forged(mine[-1], what)
        return self.courier.deliver(forged)

    def ring(self, calendar_id: str, times: int = 1) -> int:
        """Notify the calendar's watchers `times` times although nothing changed; how many parcels that makes."""
        with self.lock:
            parcels = [self._rung(one) for _ in range(times) for one in self._watchers(calendar_id)]
            for parcel, weather in parcels:
                self.courier.send(parcel, weather)
        return len(parcels)

    @locked
    def lifecycle(self, calendar_id: str, event: LifecycleEvent) -> int:
        """Tell the calendar's subscribers of their subscription; how many could be told.

        After `reauthorizationRequired` delivery stops when the access token ends, unless somebody acts;
        `subscriptionRemoved` ends the subscription.
        """
        self.changes += 1
        mine = self._subscriptions(calendar_id)
        for one in mine:
            if event == "reauthorizationRequired":
                one.stops_at = max(one.token_ends_at, self.now() + timedelta(seconds=1))
            elif event == "subscriptionRemoved":
                del self.state.subscriptions[one.id]
        heard = [one for one in mine if one.lifecycle_url is not None]
        for one in heard:
            parcel = subscriptions.parcel(str(one.lifecycle_url), [subscriptions.lifecycle(one, event)])
            self.courier.send(parcel, self.microsoft_switches(one.calendar_id).push)
        return len(heard)

    @locked
    def vanish(self, calendar_id: str) -> int:
        """The calendar's channels and subscriptions are gone, and nobody is told; how many there were."""
        self.changes += 1
        gone = list(self._watchers(calendar_id))
        for one in gone:
            kept = self.state.channels if isinstance(one, Channel) else self.state.subscriptions
            kept.pop(one.id)
        return len(gone)

    # -- inside --------------------------------------------------------------------------------------------

    def _post(self, told: list[tuple[Subscription, Json]]) -> None:
        for mixed in (False, True):
            some = [(one, row) for one, row in told if self.microsoft_switches(one.calendar_id).mixed_batches is mixed]
            for one, parcel in subscriptions.batches(self.state, some, mixed=mixed, now=self.now()):
                self._send(one, parcel)

    def _send(self, one: Subscription, parcel: Parcel) -> None:
        switches = self.microsoft_switches(one.calendar_id)
        weather, share = switches.push, 0.0
        if switches.slow_endpoint_s is not None:
            share = self.courier.slow_share(parcel.url, over_s=switches.slow_endpoint_s)
        if share > _SLOW_SHARE:
            self.courier.lose()
            return
        if share > _LATE_SHARE:
            weather = Weather(weather.loss, weather.duplicates, weather.delay_s + _LATE_S, weather.jitter_s)
        self.courier.send(parcel, weather)

    def _watchers(self, calendar_id: str) -> Iterable[Channel | Subscription]:
        own = self.calendar(calendar_id).id
        yield from [one for one in self.state.channels.values() if one.calendar_id == own]
        yield from self._subscriptions(own)

    def _subscriptions(self, calendar_id: str) -> list[Subscription]:
        own = self.calendar(calendar_id).id
        return [one for one in self.state.subscriptions.values() if one.calendar_id == own]

    def _rung(self, one: Channel | Subscription) -> tuple[Parcel, Weather]:
        if isinstance(one, Channel):
            parcel = watch.message(one, "exists", base=f"{self.base_url}/google")
            return parcel, self.google_switches(one.calendar_id).push
        return subscriptions.parcel(one.url, [self._latest(one)]), self.microsoft_switches(one.calendar_id).push

    def _forged(self, one: Channel | Subscription, what: Literal["token", "channel", "resource"]) -> Parcel:
        if isinstance(one, Channel):
            genuine = self._rung(one)[0]
            wrong = {"token": "X-Goog-Channel-Token", "channel": "X-Goog-Channel-ID", "resource": "X-Goog-Resource-ID"}
            return Parcel(genuine.url, genuine.headers | {wrong[what]: "forged"})
        named = {"token": "clientState", "channel": "subscriptionId", "resource": "resource"}
        return subscriptions.parcel(one.url, [self._latest(one) | {named[what]: "forged"}])

    def _latest(self, one: Subscription) -> Json:
        row = subscriptions.latest(one, self.state.calendars[one.calendar_id])
        if row is None:
            message = "The calendar is empty: create an event first."
            raise Unusable(message)
        return row
