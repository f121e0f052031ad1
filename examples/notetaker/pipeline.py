"""Calendar Pipeline's API, as far as Notetaker uses it."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

Json = dict[str, Any]


class Refused(Exception):
    """The API does not do what was asked; asking again changes nothing."""


class Pipeline:
    """A client of the API. Raises Refused or httpx.HTTPError; safe to share among threads."""

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
        self._delete(f"/calendars/{calendar_id}")

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
        """Call the bot off."""
        self._delete(f"/bots/{bot_id}")

    def _delete(self, path: str) -> None:
        """What is gone already is fine."""
        answer = self._http.delete(self._url + path)
        if answer.status_code != 404:
            _good(answer)

    def _find(self, path: str) -> Json | None:
        answer = self._http.get(self._url + path)
        if answer.status_code == 404:
            return None
        return _json(answer)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        url = path if path.startswith("http") else self._url + path
        return _json(self._http.request(method, url, json=body, params=query))


def _json(answer: httpx.Response) -> Json:
    """What a good answer says. One that is no JSON is not the API's: a proxy's page, say, while that restarts."""
    try:
        return _good(answer).json()
    except ValueError:
        raise httpx.DecodingError("The answer is not JSON.", request=answer.request) from None


def _good(answer: httpx.Response) -> httpx.Response:
    """400 and 409 are for who asked; everything else that is no success is for who runs Notetaker."""
    if answer.status_code in (400, 409):
        raise Refused(answer.text)
    return answer.raise_for_status()
