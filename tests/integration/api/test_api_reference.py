"""The reference page is served whole from here, under a policy of its own; the examples are what the schemas say."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api import openapi, reference
from calendar_pipeline.settings import Settings

SITE = "http://testserver.local"
DOCUMENT = openapi.document(Settings(_env_file=None), version="0", base="/api/v1")


def examples() -> list[Any]:
    found = []
    for path, item in DOCUMENT["paths"].items():
        for method in set(item) & set(openapi.METHODS):
            told = item[method]
            for what, place in [("request", told.get("requestBody", {})), *told["responses"].items()]:
                kinds = place.get("content", {}).values()
                found += [pytest.param(kind, id=f"{method} {path} {what}") for kind in kinds]
    return sorted(found, key=lambda one: str(one.id))


@pytest.mark.parametrize("kind", examples())
def test_every_request_answer_and_refusal_has_an_example_that_its_schema_allows(kind: dict[str, Any]) -> None:
    schema = {"$ref": kind["schema"]["$ref"], "components": DOCUMENT["components"]}
    checked = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in checked.iter_errors(kind["example"])] == []


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/calendars/cal_0123456789abcdef", {"headers": {"Authorization": ""}}, 401),
        ("GET", "/calendars/cal_0123456789abcdef", {}, 404),
        ("GET", "/calendars/cal_0123456789abcdef/status", {}, 404),
        ("GET", "/bots/bot_0123456789abcdef", {}, 404),
        ("GET", "/bots?cursor=x", {}, 404),
        ("PUT", "/bots", {}, 405),
        ("GET", "/bots", {"headers": {"Accept": "text/html"}}, 406),
        ("POST", "/bots", {"json": {"meeting_url": "https://meet.google.com/abc-defg-hij"}}, 400),
        ("POST", "/webhooks", {"json": {"triggers": ["bot.state_change"]}}, 400),
        ("GET", "/event_changes?cursor=x", {}, 400),
        ("GET", "/webhooks/webhook_0123456789abcdef", {}, 404),
        ("POST", "/bots", {"content": b" " * 2**21, "headers": {"Content-Type": "application/json"}}, 413),
        ("POST", "/bots", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ("PUT", "/calendar_events/evt_0123456789abcdef/bot_override", {"json": {"answer": "yes"}}, 404),
    ],
)
def test_examples_of_refusals_are_what_is_answered(
    client: Any, method: str, path: str, options: Any, status: int
) -> None:
    answer = client.request(method, path, **options)
    template = re.sub(r"/\w+_0123456789abcdef", lambda id_: f"/{{{NAMED[id_[0][1:4]]}}}", path.partition("?")[0])
    item = DOCUMENT["paths"][f"/api/v1{template}"]
    told = item.get(method.lower(), item.get("get"))["responses"][str(status)]
    [(media, kind)] = told["content"].items()
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (status, media, kind["example"])


NAMED = {"cal": "calendar_id", "bot": "bot_id", "evt": "event_id", "web": "webhook_id"}


@pytest.mark.parametrize("name", sorted(reference.FILES))
def test_files_are_served_under_the_page_s_own_policy(anonymous: Any, name: str) -> None:
    answer = anonymous.get(f"{SITE}/docs" if name == "index.html" else f"{SITE}/docs/{name}")
    assert answer.status_code == 200
    assert answer.content == reference.read(name)
    assert answer.headers["content-type"] == f"{reference.FILES[name]}; charset=utf-8"
    assert answer.headers["content-security-policy"] == reference.POLICY
    assert "unsafe" not in reference.POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs/x", "/docs/index.html", "/docs/__init__.py", "/docs/..%2Fapp.py", "/docs/"])
def test_nothing_else_is_served(anonymous: Any, path: str) -> None:
    assert anonymous.get(f"{SITE}{path}").status_code == 404


@pytest.mark.parametrize("path", ["/openapi.json", "/healthz", "/api/v1/calendars", "/docs/x"])
def test_every_other_path_keeps_the_strictest_policy(anonymous: Any, path: str) -> None:
    policy = anonymous.get(f"{SITE}{path}").headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"
