"""Calendar Pipeline's API, as far as Notetaker uses it."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

Json = dict[str, Any]


class Pipeline:
    """A client of the API. Raises httpx.HTTPError for what went wrong; safe to share among threads."""

    def __init__(self, api_url: str, api_key: str) -> None:
        self._http = httpx.Client(headers={"Authorization": f"Token {api_key}"}, timeout=20, trust_env=False)
        self._url = api_url

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def connect_link(self, **asked: object) -> str:
        """Where to send the user's browser."""
        given = {name: value for name, value in asked.items() if value is not None}
        return str(self._ask("POST", "/connect_links", given)["url"])

    def calendar(self, calendar_id: str) -> Json | None:
        """The calendar; None if it is gone."""
        return self._find(f"/calendars/{calendar_id}")

    def forget_calendar(self, calendar_id: str) -> None:
        """Follow it no longer."""
        self._http.delete(f"{self._url}/calendars/{calendar_id}")

    def events(self, **query: str) -> Iterator[Json]:
        """All events that fit, page by page."""
        page = self._ask("GET", "/calendar_events", query=query)
        yield from page["results"]
        while page["next"]:
            page = self._ask("GET", page["next"])
            yield from page["results"]

    def schedule_bot(self, event_id: str) -> Json:
        """A bot for a calendar event. With the event's id as deduplication key there is never a second one."""
        asked = {"calendar_event_id": event_id, "bot_name": "Notetaker", "deduplication_key": event_id}
        return self._ask("POST", "/bots", asked)

    def unschedule_bot(self, bot_id: str) -> None:
        """Call the bot off; one that is gone already is fine."""
        answer = self._http.delete(f"{self._url}/bots/{bot_id}")
        if answer.status_code != 404:
            answer.raise_for_status()

    def _find(self, path: str) -> Json | None:
        answer = self._http.get(self._url + path)
        if answer.status_code == 404:
            return None
        return answer.raise_for_status().json()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        url = path if path.startswith("http") else self._url + path
        return self._http.request(method, url, json=body, params=query).raise_for_status().json()
