"""Rules for bots over HTTP, to a server process: what is taken, what is refused, and what bots they make."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from calendar_pipeline.bots import rule_store, ruling
from calendar_pipeline.bots.rules import Rules, Template
from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing

PATH = "/bot_rules"
BOT = {"name": "Notes"}
ALL = {"bot": BOT, "project": "all"}
SECRET = {"rtmp_settings": {"destination_url": "rtmps://live.example", "stream_key": "canary"}}
SHOWN_BOT = {"name": "Notes", "metadata": None, "settings": []}


@pytest.fixture
def calendar(remote: httpx.Client) -> str:
    new = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
    return remote.post("/calendars", json=new).json()["id"]


def test_without_rules_there_is_nothing_to_see_or_to_forget(remote: httpx.Client) -> None:
    for method in ("GET", "DELETE"):
        answer = remote.request(method, PATH)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_rules_are_kept_replaced_and_forgotten(remote: httpx.Client, calendar: str) -> None:
    first = remote.put(PATH, json=ALL)
    assert (first.status_code, first.json()) == (200, {"bot": SHOWN_BOT, "project": "all", "calendars": {}})
    policy = {"external_only": True, "working_hours": {"from": "08:00", "days": ["mon"]}}
    wanted = {"bot": {"name": "Notes", "metadata": {"by": "rules"}}, "project": policy, "calendars": {calendar: "none"}}
    second = remote.put(PATH, json=wanted)
    assert second.status_code == 200
    assert second.json() == remote.get(PATH).json() == wanted | {"bot": SHOWN_BOT | {"metadata": {"by": "rules"}}}
    gone = remote.delete(PATH)
    assert (gone.status_code, gone.content) == (200, b"")
    assert remote.get(PATH).status_code == 404


def test_five_and_a_half_people_are_none_but_five_point_nought_are_five(remote: httpx.Client) -> None:
    for given, status in ((5.0, 200), (5.5, 400)):
        answer = remote.put(PATH, json={"bot": BOT, "project": {"minimum_attendees": given}})
        assert answer.status_code == status
    assert remote.get(PATH).json()["project"] == {"minimum_attendees": 5}


def test_settings_are_kept_sealed_and_shown_by_name(
    remote: httpx.Client, tenant: Any, store: Database, server: Any
) -> None:
    answer = remote.put(PATH, json={"bot": BOT | {"settings": SECRET}, "project": "all"})
    assert answer.json()["bot"]["settings"] == ["rtmp_settings"]
    assert "canary" not in answer.text + remote.get(PATH).text
    with store.single() as conn:
        kept = rule_store.get(conn, KeyRing.parse(server.ring), tenant.id)
    assert kept == Rules(bot=Template(name="Notes", settings=SECRET), project="all")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "missing required field `bot`"),
        ({"bot": {}}, "missing required field `name`"),
        ({"bot": BOT, "project": "some"}, "$.project"),
        ({"bot": BOT, "project": {}}, "write `all` or `none`"),
        ({"bot": BOT, "project": {"own_domains": ["a.example"]}}, "write `all` or `none`"),
        ({"bot": BOT, "project": {"external": True}}, "unknown field `external`"),
        ({"bot": BOT, "project": {"recurring": "yes"}}, "$.project.recurring"),
        ({"bot": BOT, "project": {"working_hours": {"from": "9"}}}, "regex"),
        ({"bot": BOT, "project": {"working_hours": {"from": "18:00", "to": "09:00"}}}, "before `to`"),
        ({"bot": BOT, "project": {"working_hours": {"time_zone": "Mars"}}}, "IANA"),
        ({"bot": BOT, "calendars": {"cal_0123456789abcdef": "all"}}, "no calendar cal_0123456789abcdef"),
        ({"bot": BOT | {"settings": {"recording": {}}}}, "there is no such setting"),
        ({"bot": BOT | {"settings": {"recording_settings": {"format": "gif"}}}}, "mp4"),
        ({"bot": BOT | {"metadata": {"a": 1}}}, "must be a string"),
        ({"bot": {"name": "a\x00b"}}, "Null characters"),
        ([], "Expected a dictionary"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_what_to_change(remote: httpx.Client, body: Any, told: str) -> None:
    assert remote.put(PATH, json=ALL).status_code == 200
    answer = remote.put(PATH, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert told in answer.json()["detail"] + str(answer.json().get("errors", ""))
    assert remote.get(PATH).json()["project"] == "all"


def test_an_event_is_said_yes_and_no_for_and_left_to_the_rules_again(
    remote: httpx.Client, tenant: Any, calendar: str, put: Callable[..., list[str]]
) -> None:
    [event] = put(tenant.id, calendar, [{}])
    path = f"/calendar_events/{event}/bot_override"
    assert remote.get(path).json() == {"event_id": event, "answer": "unset"}
    for answer in ("yes", "no", "unset"):
        said = remote.put(path, json={"answer": answer})
        assert (said.status_code, said.json()) == (200, {"event_id": event, "answer": answer})
        assert remote.get(path).json() == said.json()
    assert remote.put(path, json={"answer": "perhaps"}).status_code == 400
    assert remote.put(path, json={}).json()["errors"] == {"answer": ["This field is required."]}
    assert remote.put("/calendar_events/evt_0123456789abcdef/bot_override", json={"answer": "yes"}).status_code == 404


def test_what_the_api_was_told_makes_and_spares_bots(
    remote: httpx.Client, tenant: Any, calendar: str, put: Callable[..., list[str]], store: Database, server: Any
) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    wanted, unwanted, spared = put(
        tenant.id,
        calendar,
        [
            {"title": title, "starts_at": start, "meeting_link": link, "meeting_url": link, "meeting_key": link}
            for title, link in (
                ("Planning", "https://meet.google.com/aaa-aaaa-aaa"),
                ("Lunch", "https://meet.google.com/bbb-bbbb-bbb"),
                ("Planning", "https://meet.google.com/ccc-cccc-ccc"),
            )
        ],
    )
    rules = {"bot": BOT | {"metadata": {"by": "rules"}}, "project": {"title_contains": ["planning"]}}
    assert remote.put(PATH, json=rules).status_code == 200
    assert remote.put(f"/calendar_events/{spared}/bot_override", json={"answer": "no"}).status_code == 200

    def bots() -> dict[str, list[Any]]:
        ring = KeyRing.parse(server.ring)
        while ruling.judge(store, ring, tenant.id, now=datetime.now(UTC), crash=lambda _: None):
            pass
        found = remote.get("/calendar_events", params={"calendar_id": calendar}).json()["results"]
        return {event["id"]: [bot["metadata"] for bot in event["bots"]] for event in found}

    assert bots() == {wanted: [{"by": "rules"}], unwanted: [], spared: []}
    remote.put(f"/calendar_events/{spared}/bot_override", json={"answer": "unset"})
    assert bots() == {wanted: [{"by": "rules"}], unwanted: [], spared: [{"by": "rules"}]}
