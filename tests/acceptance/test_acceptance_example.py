"""`make example`, as its reader meets it: one command, a page to click through, Ctrl-C, and nothing is left."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest


class Forms(HTMLParser):
    """A page's forms: where they go, what they hold, and their buttons' names, values and words."""

    def __init__(self, page: httpx.Response) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._in_button = False
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": "", "method": "get"} | given | {"fields": [], "buttons": []})
        elif tag == "input" and self.forms:
            is_chosen = given.get("type") not in ("radio", "checkbox") or "checked" in given
            if is_chosen and "disabled" not in given:
                self.forms[-1]["fields"].append((given["name"], given.get("value", "")))
        elif tag == "button" and self.forms:
            self._in_button = True
            self.forms[-1]["buttons"].append({"name": given.get("name"), "value": given.get("value"), "text": ""})

    def handle_data(self, data: str) -> None:
        if self._in_button:
            self.forms[-1]["buttons"][-1]["text"] += data

    def handle_endtag(self, tag: str) -> None:
        self._in_button = self._in_button and tag != "button"


class Person:
    """Someone who reads pages and presses buttons; keeps cookies, and follows where answers lead."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(trust_env=False, timeout=60, follow_redirects=True)
        self.url = url
        self.page = self.open("/")

    def open(self, path: str) -> httpx.Response:
        self.page = self._http.get(self.url + path).raise_for_status()
        return self.page

    def press(self, text: str, **more: str) -> httpx.Response:
        """Press the page's only button that says `text`, with `more` filled in."""
        [(form, button)] = [
            (form, button) for form in Forms(self.page).forms for button in form["buttons"] if text in button["text"]
        ]
        given = [(name, more.get(name, value)) for name, value in form["fields"]]
        if button["name"]:
            given.append((button["name"], button["value"]))
        at = self.page.url.join(form["action"]) if form["action"] else self.page.url
        if form["method"] == "get":
            self.page = self._http.get(at.copy_with(query=None), params=given)
        else:
            told: dict[str, list[str]] = {}
            for name, value in given:
                told.setdefault(name, []).append(value)
            self.page = self._http.post(at, data=told)
        assert self.page.is_success, self.page.text
        return self.page

    def meeting(self, title: str) -> str:
        """The next meeting of that title, as the page shows it now; empty if it shows none."""
        shown = re.findall(r'(?s)<li id="evt_\w+">.*?</li>', self.open("/").text)
        return next((one for one in shown if f">{title}</p>" in one), "")

    def flip(self, title: str) -> None:
        """Press the meeting's switch."""
        action = re.search(r'action="(/meetings/[^"]+)"', self.meeting(title))
        assert action
        self._http.post(self.url + action[1]).raise_for_status()

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def example(new_installation: Callable[..., Any], clone: Path) -> Any:
    """`make example` in a clone. It asks for everything anew so seldom that only webhooks can be why a page changes."""
    installation = new_installation(root=clone, NOTETAKER_POLL_SECONDS="3600")
    names = ("API_PORT", "DAGSTER_PORT", "SANDBOX_PORT", "NOTETAKER_PORT")
    installation.environment |= dict(zip(names, map(str, installation.ports), strict=True))
    installation.start("make", "example")
    ready = f"Notetaker is at {installation.notetaker_url}: sign in"
    installation.until("the line that says where Notetaker is", lambda: ready in installation.output())
    return installation


@pytest.fixture
def ada(example: Any) -> Iterator[Person]:
    person = Person(example.notetaker_url)
    yield person
    person.close()


def test_connect_a_calendar_and_send_a_bot_that_follows(example: Any, ada: Person) -> None:
    """And the page says what the API says."""
    ada.press("Sign in", email="ada@example.com")
    ada.press("Connect Google")
    ada.press("ada@example.com")
    ada.press("Allow")
    assert "Which calendar shall Notetaker follow?" in ada.page.text
    ada.press("Follow this calendar")
    assert "Your calendar is connected." in ada.page.text
    meeting = example.until("the meetings", lambda: ada.meeting("Planning"))
    assert 'aria-checked="false"' in meeting

    ada.flip("Planning")
    assert 'aria-checked="true"' in ada.meeting("Planning")
    example.key = json.loads((example.state / "notetaker.json").read_text())["key"]
    [bot] = example.api("GET", "/bots")["results"]
    assert bot["state"] == "scheduled"

    [event] = [one for one in example.sandbox.events("ada@example.com") if one["summary"] == "Planning"]
    example.sandbox.move_event("ada@example.com", event["id"], by=timedelta(minutes=45))
    moved = datetime.fromisoformat(bot["join_at"]) + timedelta(minutes=45)
    shown = (f'<time datetime="{moved:%FT%H:%M}', f'joins at <time datetime="{moved:%FT%H:%M}')
    example.until("the page to follow", lambda: all(one in ada.meeting("Planning") for one in shown))

    ada.flip("Planning")
    assert 'aria-checked="false"' in ada.meeting("Planning")
    assert example.api("GET", "/bots")["results"] == []


def test_a_forged_webhook_is_refused(example: Any) -> None:
    forged = {"X-Webhook-Signature": "Zm9yZ2Vk"}
    told = b'{"idempotency_key":"1","trigger":"calendar.events_update","calendar_id":"cal_0000000000000000"}'
    for headers in ({}, forged):
        assert httpx.post(f"{example.notetaker_url}/webhooks", content=told, headers=headers).status_code == 401
    example.until("its line in the log", lambda: example.output().count("a webhook was refused") == 2)


def test_ctrl_c_ends_it_all(example: Any) -> None:
    """As a terminal does it: everyone in the foreground hears of it. No process and no listener is left."""
    example.processes()
    os.killpg(example.up.pid, signal.SIGINT)
    example.up.wait(90)
    assert "up | stopping" in example.output()
    assert "Traceback" not in example.output()
    example.leaves_nothing()
    assert len(example.groups) >= 6
