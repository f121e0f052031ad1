"""The reference page is served whole from here, under a policy of its own; the examples are what the schemas say."""

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
            good = [(status, answer) for status, answer in told["responses"].items() if status.startswith("2")]
            for what, place in [("request", told.get("requestBody", {})), *good]:
                if kind := place.get("content", {}).get("application/json"):
                    found.append(pytest.param(kind, id=f"{method} {path} {what}"))
    return sorted(found, key=lambda one: str(one.id))


@pytest.mark.parametrize("kind", examples())
def test_every_request_and_answer_has_an_example_that_its_schema_allows(kind: dict[str, Any]) -> None:
    schema = {"$ref": kind["schema"]["$ref"], "components": DOCUMENT["components"]}
    checked = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in checked.iter_errors(kind["example"])] == []


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
