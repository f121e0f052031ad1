"""Who watches which calendar, and what they are told when it changes. How it travels is `push`'s business."""

from typing import Literal

from sandbox.errors import Missing
from sandbox.google import watch
from sandbox.ground import Ground, locked
from sandbox.push import Parcel, Tally
from sandbox.replies import Json


class Pushes(Ground):
    """Notifications, genuine and otherwise."""

    def tell(self) -> None:
        """Send off what watchers are to hear. The caller holds the lock."""
        if self.told == self.changes:
            return
        self.told = self.changes
        for calendar_id, parcel in watch.changed(self.state, now=self.now(), base=f"{self.base_url}/google"):
            self.courier.send(parcel, self.google_switches(calendar_id).push)

    @locked
    def channels(self) -> list[Json]:
        """Google's living watch channels; never their tokens."""
        now = self.now()
        return [
            {"id": one.id, "calendar_id": one.calendar_id, "address": one.address, "expires_at": one.expires_at}
            for one in self.state.channels.values()
            if one.expires_at > now
        ]

    def pushes(self, settle_s: float = 0.0) -> Tally:
        """What became of all notifications; waits up to `settle_s` until none is on its way."""
        self.courier.settle(within_s=settle_s)
        return self.courier.tally()

    def forge(self, calendar_id: str, what: Literal["token", "channel", "resource"] = "token") -> int:
        """Somebody else posts to the calendar's newest channel, with one thing wrong; the status they get."""
        with self.lock:
            mine = [one for one in self.state.channels.values() if one.calendar_id == self.calendar(calendar_id).id]
            if not mine:
                message = f"Nobody watches {calendar_id}."
                raise Missing(message)
            genuine = watch.message(mine[-1], "exists", base=f"{self.base_url}/google")
        wrong = {"token": "X-Goog-Channel-Token", "channel": "X-Goog-Channel-ID", "resource": "X-Goog-Resource-ID"}
        return self.courier.deliver(Parcel(genuine.url, genuine.headers | {wrong[what]: "forged"}))

    def ring(self, calendar_id: str, times: int = 1) -> int:
        """Notify the calendar's watchers `times` times although nothing changed; how many parcels that makes."""
        with self.lock:
            mine = [one for one in self.state.channels.values() if one.calendar_id == self.calendar(calendar_id).id]
            weather = self.google_switches(calendar_id).push
            for channel in mine * times:
                self.courier.send(watch.message(channel, "exists", base=f"{self.base_url}/google"), weather)
        return len(mine) * times
