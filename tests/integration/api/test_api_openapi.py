"""The published document is true: routes, fields, nullability, errors."""

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from litestar import Litestar

from api import shapes
from api.problems import OWN
from calendar_pipeline.db.schema import calendar

BOT = {"bot_name": "x", "meeting_url": "https://meet.google.com/abc-defg-hij"}
GOOD = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}


@pytest.fixture
def document(client) -> dict[str, Any]:
    return client.get("http://testserver.local/openapi.json").json()


def conforms(value: object, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether `value` is what `schema` says, as far as the words of our document go; objects have no other keys."""
    if "$ref" in schema:
        return conforms(value, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    if "anyOf" in schema:
        return any(conforms(value, option, document) for option in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    allowed = [kinds] if isinstance(kinds, str) else kinds
    named = "integer" if type(value) is int and "integer" in allowed else names.get(type(value), "number")
    if allowed and named not in allowed:
        return False
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return set(schema.get("required", ())) <= set(value) <= set(known) and all(
            conforms(item, known[name], document) for name, item in value.items()
        )
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        return all(conforms(item, schema["additionalProperties"], document) for item in value.values())
    if isinstance(value, list) and "items" in schema:
        return all(conforms(item, schema["items"], document) for item in value)
    return True


def test_every_route_is_in_the_document_and_no_other(app: Litestar, document) -> None:
    routes = {
        (route.path_format, method.lower())
        for route in app.routes
        for handler in route.route_handlers
        for method in handler.http_methods
        if not (handler.name or "").startswith("others ") and route.path_format.startswith("/api/")
    }
    told = {(path, m) for path, item in document["paths"].items() for m in item if m != "parameters"}
    assert told == routes


def test_references_lead_somewhere(document) -> None:
    text = msgspec.json.encode(document).decode()
    used = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("method", "path", "operation", "options", "status"),
    [
        ("GET", "/calendars", "/calendars", {}, 200),
        ("GET", "/calendars?cursor=x", "/calendars", {}, 404),
        ("POST", "/calendars", "/calendars", {"json": GOOD}, 201),
        ("POST", "/calendars", "/calendars", {"json": {}}, 400),
        ("POST", "/calendars", "/calendars", {"json": []}, 400),
        ("POST", "/calendars", "/calendars", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/calendars", "/calendars", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/calendars", "/calendars", {"json": "x" * 1024 * 1024}, 413),
        ("GET", "/calendars/{id}", "/calendars/{calendar_id}", {}, 200),
        ("GET", "/calendars/x", "/calendars/{calendar_id}", {}, 404),
        ("PATCH", "/calendars/{id}", "/calendars/{calendar_id}", {"json": {}}, 200),
        ("PATCH", "/calendars/{id}", "/calendars/{calendar_id}", {"json": {"metadata": {}}}, 400),
        ("PATCH", "/calendars/x", "/calendars/{calendar_id}", {"json": {}}, 404),
        ("DELETE", "/calendars/x", "/calendars/{calendar_id}", {}, 404),
        ("GET", "/bots", "/bots", {}, 200),
        ("GET", "/bots?cursor=x", "/bots", {}, 404),
        ("GET", "/bots?states=x", "/bots", {}, 400),
        ("POST", "/bots", "/bots", {"json": BOT}, 201),
        ("POST", "/bots", "/bots", {"json": {}}, 400),
        ("POST", "/bots", "/bots", {"json": BOT | {"calendar_event_id": "x"}}, 400),
        ("POST", "/bots", "/bots", {"json": BOT | {"recording_settings": {"format": "x"}}}, 400),
        ("GET", "/bots/x", "/bots/{bot_id}", {}, 404),
        ("PATCH", "/bots/x", "/bots/{bot_id}", {"json": {}}, 404),
        ("DELETE", "/bots/x", "/bots/{bot_id}", {}, 404),
        ("GET", "/calendar_events", "/calendar_events", {}, 200),
        ("GET", "/calendar_events?ordering=x", "/calendar_events", {}, 400),
        ("GET", "/calendar_events?cursor=x", "/calendar_events", {}, 404),
        ("GET", "/calendar_events", "/calendar_events", {"headers": {"Authorization": "x"}}, 401),
        ("GET", "/calendar_events", "/calendar_events", {"headers": {"Accept": "text/html"}}, 406),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_answers_are_as_documented(
    client, tenant, events, db, clock, document, method, path, operation, options, status, full
) -> None:
    made = client.post("/calendars", json=GOOD).json()
    if full:
        failure = {"error": "x", "timestamp": "y"}
        with db.begin() as conn:
            conn.execute(
                sa.update(calendar).values(
                    state="disconnected",
                    platform_uuid="x",
                    metadata={"a": "b"},
                    deduplication_key="x",
                    connection_failure_data=failure,
                    last_successful_sync_at=clock(),
                    last_attempted_sync_at=clock(),
                )
            )
    events(tenant.id, made["id"], [{"ical_uid": "x", "meeting_url": "x"} if full else {"title": None}])
    answer = client.request(method, path.format(id=made["id"]), **options)
    assert answer.status_code == status
    responses = document["paths"][f"/api/v1{operation}"][method.lower()]["responses"]
    schema = responses[str(status)]["content"]["application/json"]["schema"]
    assert conforms(answer.json(), schema, document)


def test_nullable_is_what_the_contract_says(document) -> None:
    def nullable(name: str) -> set[str]:
        properties = document["components"]["schemas"][name]["properties"]
        return {field for field, schema in properties.items() if {"type": "null"} in schema.get("anyOf", [])}

    assert nullable("Calendar") == {
        "platform_uuid",
        "metadata",
        "deduplication_key",
        "connection_failure_data",
        "last_successful_sync_at",
        "last_attempted_sync_at",
    }
    assert nullable("Bot") == {"metadata", "join_at", "deduplication_key"}
    assert nullable("CalendarEvent") == {"meeting_url", "ical_uid", "name"}


def test_answers_decode_into_the_types_they_come_from(client, tenant, events) -> None:
    made = client.post("/calendars", json=GOOD)
    events(tenant.id, made.json()["id"], [{}])
    assert msgspec.json.decode(made.content, type=shapes.Calendar)
    assert msgspec.json.decode(client.get("/calendar_events").content, type=shapes.Page[shapes.CalendarEvent]).results


def test_what_is_refused_on_our_own_paths_is_a_problem_and_elsewhere_none(app: Litestar, document) -> None:
    """The document says it of the paths whose handlers answer so, webhooks among them, and of no other."""
    own = set()
    for route in app.routes:
        for handler in route.route_handlers if route.path_format.startswith("/api/") else ():
            if (handler.name or "").startswith("others "):
                continue
            for method in handler.http_methods & {"GET", "POST", "PATCH", "PUT", "DELETE"}:
                told = document["paths"][route.path_format][method.lower()]["responses"]
                kinds = {kind for status, one in told.items() if status >= "4" for kind in one.get("content", {})}
                assert kinds == {"application/problem+json" if handler.opt.get(OWN) else "application/json"}
                if handler.opt.get(OWN):
                    own.add(route.path_format.removeprefix("/api/v1"))
    assert {"/webhooks", "/webhook_deliveries/{delivery_id}/resend", "/webhook_secret/rotate"} <= own


@pytest.mark.parametrize(
    ("method", "path", "operation", "options", "status"),
    [
        ("POST", "/webhooks", "/webhooks", {"json": {}}, 400),
        ("POST", "/webhooks", "/webhooks", {"json": {"url": "http://10.0.0.1/", "triggers": ["webhook.test"]}}, 400),
        ("POST", "/webhooks", "/webhooks", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/webhooks", "/webhooks", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ("GET", "/webhooks?unknown=1", "/webhooks", {}, 400),
        ("GET", "/webhooks?cursor=x", "/webhooks", {}, 404),
        ("GET", "/webhooks/x", "/webhooks/{webhook_id}", {}, 404),
        ("PUT", "/webhooks/x", "/webhooks/{webhook_id}", {"json": {}}, 405),
        ("GET", "/webhooks", "/webhooks", {"headers": {"Authorization": "x"}}, 401),
        ("GET", "/webhooks", "/webhooks", {"headers": {"Accept": "text/html"}}, 406),
        ("POST", "/webhooks/x/test", "/webhooks/{webhook_id}/test", {"json": {}}, 404),
        ("POST", "/webhooks/x/recover", "/webhooks/{webhook_id}/recover", {"json": {}}, 400),
        ("POST", "/webhook_secret/rotate", "/webhook_secret/rotate", {"json": {"overlap_hours": -1}}, 400),
        ("GET", "/webhook_deliveries?status=x", "/webhook_deliveries", {}, 400),
        ("GET", "/webhook_deliveries/x", "/webhook_deliveries/{delivery_id}", {}, 404),
    ],
)
def test_webhooks_refuse_as_documented(client, document, method, path, operation, options, status) -> None:
    answer = client.request(method, path, **options)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    operations = document["paths"][f"/api/v1{operation}"]
    told = operations.get(method.lower(), operations.get("get"))["responses"][str(status)]["content"]
    assert conforms(answer.json(), told["application/problem+json"]["schema"], document)
