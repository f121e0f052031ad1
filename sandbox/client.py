"""The control API from Python: the methods of `World` under their own names, over HTTP.

Raises `Refused` with the sandbox's own words, and `Unreachable` if nothing answers.
"""

from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeVar

import msgspec
import urllib3

from sandbox.faults import Fault, Provider
from sandbox.model import type_of_role
from sandbox.push import Tally
from sandbox.replies import Arrived, Credentials, Json, Loaded, Seen, Stats

T = TypeVar("T")
_OK = 200


class SandboxError(Exception):
    """The sandbox could not do it; the message is for a person."""


class Refused(SandboxError):
    """The sandbox answered that it cannot."""


class Unreachable(SandboxError):
    """No sandbox answers there."""


class Client:
    """Talks to the sandbox at `url`; a context manager that closes its connections."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=120))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()

    # -- calendars and accounts ----------------------------------------------------------------------------

    def create_calendar(
        self,
        *,
        account: str | None = None,
        calendar_id: str | None = None,
        summary: str | None = None,
        zone: str = "Europe/Berlin",
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - a play secret
        refresh_token: str | None = None,
        scope: str | None = None,
        access_role: type_of_role = "owner",
        poll_only: bool = False,
        provider: Provider = "google",
    ) -> Credentials:
        """A calendar and what an application needs to follow it."""
        given: Json = {"account": account, "calendar_id": calendar_id, "summary": summary, "zone": zone}
        given |= {"client_id": client_id, "client_secret": client_secret, "refresh_token": refresh_token}
        given |= {"scope": scope, "access_role": access_role, "poll_only": poll_only, "provider": provider}
        return self._do("create_calendar", given, Credentials)

    def create_client(
        self,
        client_id: str,
        *,
        client_secret: str = "sandbox-secret",  # noqa: S107 - a play secret
        redirect_uris: list[str] | None = None,
    ) -> None:
        """An OAuth client, or other redirect URIs for one."""
        given: Json = {"client_id": client_id, "client_secret": client_secret, "redirect_uris": redirect_uris}
        self._do("create_client", given, None)

    def create_calendars(
        self,
        count: int,
        events: int,
        *,
        series: int = 0,
        prefix: str = "bench",
        first: int = 0,
        provider: Provider = "google",
    ) -> list[Credentials]:
        """Many calendars of one account each, in one request."""
        given: Json = {"count": count, "events": events, "series": series, "prefix": prefix, "first": first}
        given |= {"provider": provider}
        return self._do("create_calendars", given, list[Credentials])

    def add_demo(self, *, provider: Provider = "google") -> Credentials:
        """The provider's demo calendar."""
        return self._do("add_demo", {"provider": provider}, Credentials)

    def load(
        self,
        text: str,
        *,
        calendar_id: str | None = None,
        account: str | None = None,
        shift_to_now: bool = False,
        provider: Provider = "google",
    ) -> Loaded:
        """Put an .ics export's events into a calendar (a new one unless named)."""
        given: Json = {"text": text, "calendar_id": calendar_id, "account": account, "shift_to_now": shift_to_now}
        given |= {"provider": provider}
        return self._do("load", given, Loaded)

    def calendars(self) -> list[Json]:
        """All calendars."""
        return self._get("/calendars", list[Json])

    def credentials(self, calendar_id: str) -> Credentials:
        """A calendar's living credentials."""
        return self._do("credentials", {"calendar_id": calendar_id}, Credentials)

    def set_zone(self, calendar_id: str, zone: str) -> None:
        """Change a calendar's zone."""
        self._do("set_zone", {"calendar_id": calendar_id, "zone": zone}, None)

    def change_access(self, calendar_id: str, access_role: type_of_role | None = None) -> None:
        """Change access; sync tokens die."""
        self._do("change_access", {"calendar_id": calendar_id, "access_role": access_role}, None)

    def delete_calendar(self, calendar_id: str) -> None:
        """The calendar answers 404 from now on."""
        self._do("delete_calendar", {"calendar_id": calendar_id}, None)

    def issue_refresh_token(self, account: str, *, client_id: str = "sandbox-client", scope: str | None = None) -> str:
        """One more refresh token."""
        given = {"account": account, "client_id": client_id, "scope": scope}
        return self._do("issue_refresh_token", given, str)

    def issue_access_token(self, account: str) -> str:
        """An access token."""
        return self._do("issue_access_token", {"account": account}, str)

    def issue_code(self, account: str, *, client_id: str, redirect_uri: str, **more: Any) -> str:
        """An authorization code."""
        return self._do(
            "issue_code", {"account": account, "client_id": client_id, "redirect_uri": redirect_uri} | more, str
        )

    def revoke(self, refresh_token: str) -> None:
        """The user removes the application."""
        self._do("revoke", {"refresh_token": refresh_token}, None)

    def revoke_account(self, account: str) -> int:
        """The user removes every application."""
        return self._do("revoke_account", {"account": account}, int)

    # -- events --------------------------------------------------------------------------------------------

    def create_event(
        self,
        calendar_id: str,
        *,
        start: str,
        title: str = "Meeting",
        end: str | None = None,
        minutes: int = 30,
        zone: str | None = None,
        recurrence: list[str] | None = None,
        attendees: list[str] | None = None,
        organizer: str | None = None,
        location: str | None = None,
        description: str | None = None,
        link: str | None = None,
        event_id: str | None = None,
        fields: Json | None = None,
    ) -> Json:
        """Add an event; see `World.create_event`."""
        given: Json = {"calendar_id": calendar_id, "title": title, "start": start, "end": end, "minutes": minutes}
        given |= {"zone": zone, "recurrence": recurrence, "attendees": attendees, "organizer": organizer}
        given |= {"location": location, "description": description, "link": link, "event_id": event_id}
        return self._do("create_event", given | {"fields": fields}, Json)

    def event(self, calendar_id: str, event_id: str) -> Json:
        """One event as events.get would show it."""
        return self._event("event", calendar_id, event_id)

    def events(self, calendar_id: str) -> list[Json]:
        """All stored rows."""
        return self._do("events", {"calendar_id": calendar_id}, list[Json])

    def listing(
        self, calendar_id: str, *, time_min: datetime | None = None, time_max: datetime | None = None
    ) -> list[Json]:
        """The oracle: what a full listing of the window holds."""
        given = {"calendar_id": calendar_id, "time_min": time_min, "time_max": time_max}
        return self._do("listing", given, list[Json])

    def patch_event(self, calendar_id: str, event_id: str, fields: Json) -> Json:
        """Set raw fields."""
        return self._event("patch_event", calendar_id, event_id, fields=fields)

    def move_event(
        self, calendar_id: str, event_id: str, *, by: timedelta | None = None, to: str | None = None
    ) -> Json:
        """Move an event, an instance or a series."""
        return self._event("move_event", calendar_id, event_id, by=by, to=to)

    def retitle_event(self, calendar_id: str, event_id: str, title: str) -> Json:
        """Give it another title."""
        return self._event("retitle_event", calendar_id, event_id, title=title)

    def set_link(self, calendar_id: str, event_id: str, link: str | None) -> Json:
        """Give it another meeting link, or none."""
        return self._event("set_link", calendar_id, event_id, link=link)

    def respond(
        self, calendar_id: str, event_id: str, response: Literal["needsAction", "declined", "tentative", "accepted"]
    ) -> Json:
        """The owner answers the invitation."""
        return self._event("respond", calendar_id, event_id, response=response)

    def cancel_event(self, calendar_id: str, event_id: str) -> Json:
        """Its organizer cancels an event, an instance or a series."""
        return self._event("cancel_event", calendar_id, event_id)

    def delete_event(self, calendar_id: str, event_id: str) -> Json:
        """Delete an event, an instance or a series from this calendar."""
        return self._event("delete_event", calendar_id, event_id)

    def restore_event(self, calendar_id: str, event_id: str) -> Json:
        """Bring it back."""
        return self._event("restore_event", calendar_id, event_id)

    def split_series(self, calendar_id: str, instance_id: str, fields: Json | None = None) -> Json:
        """From this instance on a new series."""
        return self._do(
            "split_series", {"calendar_id": calendar_id, "instance_id": instance_id, "fields": fields}, Json
        )

    def find_event(self, calendar_id: str, name: str, *, cancelled: bool = False) -> str:
        """The id of the one event with this id or a title like it; see `World.find_event`."""
        return self._do("find_event", {"calendar_id": calendar_id, "name": name, "cancelled": cancelled}, str)

    def next_instance(self, calendar_id: str, event_id: str) -> str:
        """The id of a series' next instance."""
        return self._do("next_instance", {"calendar_id": calendar_id, "event_id": event_id}, str)

    # -- behaviour -----------------------------------------------------------------------------------------

    def switches(self, calendar_id: str | None = None, *, provider: Provider = "google") -> Json:
        """The switches as they stand, by name."""
        named = {} if calendar_id is None else {"calendar_id": calendar_id}
        return self._get("/switches", Json, {"provider": provider} | named)

    def set_switches(self, calendar_id: str | None = None, *, provider: Provider = "google", **changes: Any) -> Json:
        """Set some, for all of the provider or one calendar."""
        given = {"changes": changes, "calendar_id": calendar_id, "provider": provider}
        return self._do("set_switches", given, Json)

    def add_fault(
        self,
        kind: str,
        *,
        endpoint: str = "",
        calendar_id: str | None = None,
        client_id: str | None = None,
        refresh_token: str | None = None,
        times: int | None = 1,
        seconds: float = 2.0,
        retry_after: int | None = None,
        description: str | None = None,
        account: str | None = None,
        provider: Provider | None = None,
    ) -> Fault:
        """Let the next fitting requests fail."""
        given: Json = {"kind": kind, "endpoint": endpoint, "calendar_id": calendar_id, "client_id": client_id}
        given |= {"refresh_token": refresh_token, "times": times, "seconds": seconds, "retry_after": retry_after}
        given |= {"description": description, "account": account, "provider": provider}
        return self._do("add_fault", given, Fault)

    def clear_faults(self, fault_id: int | None = None) -> int:
        """Forget one or all."""
        return self._do("clear_faults", {"fault_id": fault_id}, int)

    def faults(self) -> Json:
        """`waiting`: those to come; `kinds`: what there is."""
        return self._get("/faults", Json)

    def now(self) -> datetime:
        """The sandbox's time."""
        return msgspec.convert(self._get("/clock", Json)["now"], datetime)

    def set_clock(self, at: datetime | None = None, *, frozen: bool = False) -> datetime:
        """Go to a time, or back to the real one."""
        return self._do("set_clock", {"at": at, "frozen": frozen}, datetime)

    def advance(self, by: timedelta) -> datetime:
        """Let time pass."""
        return self._do("advance", {"by": by}, datetime)

    def stats(self) -> Stats:
        """Requests and bytes by endpoint."""
        return self._get("/stats", Stats)

    def reset_stats(self) -> None:
        """Count anew."""
        self._do("reset_stats", {}, None)

    def channels(self) -> list[Json]:
        """Living watch channels."""
        return self._do("channels", {}, list[Json])

    def pushes(self, settle_s: float = 0.0) -> Tally:
        """What became of all notifications."""
        return self._do("pushes", {"settle_s": settle_s}, Tally)

    def forge(self, calendar_id: str, what: Literal["token", "channel", "resource"] = "token") -> int:
        """A notification with something wrong; the status it gets."""
        return self._do("forge", {"calendar_id": calendar_id, "what": what}, int)

    def ring(self, calendar_id: str, times: int = 1) -> int:
        """Notifications without a change."""
        return self._do("ring", {"calendar_id": calendar_id, "times": times}, int)

    def lifecycle(
        self, calendar_id: str, event: Literal["reauthorizationRequired", "subscriptionRemoved", "missed"]
    ) -> int:
        """Tell the calendar's subscribers of their subscription; how many could be told."""
        return self._do("lifecycle", {"calendar_id": calendar_id, "event": event}, int)

    def vanish(self, calendar_id: str) -> int:
        """The calendar's channels and subscriptions are gone without a word; how many."""
        return self._do("vanish", {"calendar_id": calendar_id}, int)

    def expect_webhooks(self, name: str, secret: str) -> None:
        """Verify what arrives at `name` with this secret."""
        self._do("expect_webhooks", {"name": name, "secret": secret}, None)

    def expects_webhooks(self, name: str) -> bool:
        """Whether a secret is known for `name`."""
        return self._do("expects_webhooks", {"name": name}, bool)

    def webhooks(self, name: str | None = None, *, last: int = 20, after: int = 0) -> list[Arrived]:
        """The last deliveries, oldest first; with `after` those that came later than it."""
        return self._do("webhooks", {"name": name, "last": last, "after": after}, list[Arrived])

    def clear_webhooks(self, name: str | None = None) -> int:
        """Forget what arrived; how many that were."""
        return self._do("clear_webhooks", {"name": name}, int)

    def requests(self, last: int = 100) -> list[Seen]:
        """The last requests."""
        return self._get("/requests", list[Seen], {"last": str(last)})

    # -- inside --------------------------------------------------------------------------------------------

    def _event(self, operation: str, calendar_id: str, event_id: str, **more: Any) -> Json:
        return self._do(operation, {"calendar_id": calendar_id, "event_id": event_id} | more, Json)

    def _do(self, operation: str, given: Json, kind: type[T] | None) -> T:
        return self._send("POST", f"/do/{operation}", kind, body=msgspec.json.encode(given))

    def _get(self, path: str, kind: type[T], fields: dict[str, str] | None = None) -> T:
        return self._send("GET", path, kind, fields=fields)

    def _send(self, method: str, path: str, kind: type[T] | None, **more: Any) -> T:
        try:
            reply = self._http.request(method, f"{self.url}/_sandbox{path}", **more)
        except urllib3.exceptions.HTTPError as error:
            message = f"No sandbox answers at {self.url}: start one with `calendar-pipeline sandbox serve` ({error})."
            raise Unreachable(message) from None
        try:
            if reply.status != _OK:
                raise Refused(str(msgspec.json.decode(reply.data, type=Json).get("error", reply.status)))
            return msgspec.json.decode(reply.data, type=kind)
        except msgspec.DecodeError:
            message = f"What answers at {self.url} is no sandbox (status {reply.status})."
            raise Unreachable(message) from None
