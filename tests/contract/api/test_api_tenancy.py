"""Every route with an id in it, asked with another project's: the answer is that for an id that nobody has."""

from typing import Any

import httpx
import pytest

from api import methods, openapi
from calendar_pipeline.settings import Settings

BASE = methods.BASE
DOCUMENT = openapi.document(Settings(_env_file=None), version="0", base=BASE)
ROUTES = [
    (method.upper(), path)
    for path, item in DOCUMENT["paths"].items()
    if "{" in path
    for method in openapi.METHODS
    if method in item
]
"""All routes that take an id; that the document tells all there are is a test of its own."""
ABSENT = {
    "calendar_id": "cal_0123456789abcdef",
    "event_id": "evt_0123456789abcdef",
    "bot_id": "bot_0123456789abcdef",
    "webhook_id": "webhook_0123456789abcdef",
    "delivery_id": "msg_0123456789abcdef",
    "key_id": "key_0123456789abcdef",
}
BODIES = {"recover": {"since": "2026-01-01T00:00:00Z"}, "bot_override": {"answer": "yes"}}


@pytest.fixture(scope="session")
def theirs(scene, server, new_tenant) -> dict[str, str]:
    """One of each thing, in a project other than the asker's."""
    tenant = new_tenant()
    made = {
        "calendar_id": scene.names["their calendar"],
        "event_id": scene.names["their event"],
        "bot_id": scene.names["their bot"],
    }
    with httpx.Client(base_url=f"{server.url}{BASE}", headers=tenant.headers, trust_env=False, timeout=20) as client:
        hook = {"url": "https://127.0.0.1/hook", "triggers": ["bot.state_change"]}
        made["webhook_id"] = created(client.post("/webhooks", json=hook))
        made["key_id"] = created(client.post("/api_keys", json={"scopes": ["bots:read"]}))
        assert client.post(f"/webhooks/{made['webhook_id']}/test", json={}).status_code == 202
        [delivery] = client.get("/webhook_deliveries").json()["results"]
        made["delivery_id"] = delivery["id"]
    return made


def created(answer: httpx.Response) -> str:
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_fault_48_another_projects_id_is_like_an_unknown_one(scene, theirs, method, path) -> None:
    body = BODIES.get(path.rsplit("/", 1)[1], {})
    options: dict[str, Any] = {} if method == "GET" else {"json": body}
    route = path.removeprefix(BASE)
    foreign = scene.client.request(method, route.format(**theirs), **options)
    unknown = scene.client.request(method, route.format(**ABSENT), **options)
    assert (foreign.status_code, foreign.content) == (unknown.status_code, unknown.content)
    assert foreign.status_code == 404


def test_fault_48_what_was_asked_for_in_vain_is_still_there(scene, theirs) -> None:
    """Every kind of id is among the routes, and the other project still has its calendar, event and bot."""
    assert {name for _, path in ROUTES for name in ABSENT if f"{{{name}}}" in path} == set(ABSENT)
    key = {"Authorization": f"Token {scene.their_key}"}
    for path in ("/calendars/{calendar_id}", "/calendar_events/{event_id}", "/bots/{bot_id}"):
        assert scene.client.get(path.format(**theirs), headers=key).status_code == 200
