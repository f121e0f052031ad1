"""What `doctor` says of webhooks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from calendar_pipeline import doctor
from calendar_pipeline.doctor import Finding
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import subscriptions
from calendar_pipeline.webhooks.model import NewSubscription

NOBODY = "http://127.0.0.1:9"
"""Where nobody answers: providers are not what this is about."""


@pytest.fixture
def findings(hooks: Any, database_url: str, tmp_path: Path) -> Any:
    keys = generate("now")

    def findings() -> dict[str, Finding]:
        settings = Settings(
            _env_file=None,
            database_url=SecretStr(database_url),
            calendar_pipeline_keys=SecretStr(keys),
            state_dir=tmp_path,
            google_api_base_url=NOBODY,
            microsoft_graph_base_url=NOBODY,
            microsoft_login_base_url=NOBODY,
        )
        return {one.check: one for one in doctor.examine(settings)}

    hooks.clock.now = datetime.now(UTC)
    hooks.keyring = KeyRing.parse(keys)
    return findings


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {name: one.level for name, one in found.items() if name.startswith("webhook")}


def test_all_is_well_where_nothing_waits_long(hooks: Any, findings: Any) -> None:
    hooks.tell(hooks.subscribe("https://example.com/"))
    found = findings()
    assert levels(found) == {"webhooks": "ok", "webhook endpoints": "ok", "webhook losses": "ok"}
    assert found["webhooks"].text == "1 wait, 0 of them held, the oldest for 0 min"


def test_a_held_delivery_counts_by_its_age_and_its_endpoint_as_given_up(hooks: Any, findings: Any) -> None:
    hooks.tell(hooks.subscribe("https://example.com/"))
    hooks.execute("UPDATE webhook_subscription SET disabled_at = now(), disabled_reason = 'failing'")
    hooks.execute("UPDATE webhook_delivery SET created_at = now() - interval '2 hours'")
    found = findings()
    assert levels(found) == {"webhooks": "warning", "webhook endpoints": "warning", "webhook losses": "ok"}
    assert found["webhooks"].text.startswith("1 wait, 1 of them held, the oldest for 120 min")
    assert found["webhook endpoints"].text.startswith("1 in all, 1 disabled, 0 failing, 1 given up")


def test_an_endpoint_that_was_switched_off_is_no_trouble(hooks: Any, findings: Any) -> None:
    hooks.subscribe("https://example.com/", disabled_at=hooks.clock(), disabled_reason="operator")
    assert set(levels(findings()).values()) == {"ok"}


@pytest.mark.parametrize(("ago", "level"), [(timedelta(minutes=1), "ok"), (timedelta(minutes=6), "warning")])
def test_what_a_dead_worker_left_behind_is_told_if_nobody_took_it_up(
    hooks: Any, findings: Any, ago: timedelta, level: str
) -> None:
    hooks.tell(hooks.subscribe("https://example.com/"), 2)
    hooks.execute(
        "UPDATE webhook_delivery SET lease_token = gen_random_uuid(), lease_until = now() - :ago WHERE n ="
        " (SELECT min(n) FROM webhook_delivery)",
        ago=ago,
    )
    found = findings()["webhooks"]
    assert found.level == level
    assert ("1 left behind by dead workers" in found.text) == (level == "warning")


@pytest.mark.parametrize("status", ["dead", "rejected"])
def test_a_delivery_lost_today_is_told(hooks: Any, findings: Any, status: str) -> None:
    hooks.tell(hooks.subscribe("https://example.com/"))
    hooks.execute("UPDATE webhook_delivery SET status = :status, finished_at = now()", status=status)
    assert findings()["webhook losses"].level == "warning"
    hooks.execute("UPDATE webhook_delivery SET finished_at = now() - interval '2 days'")
    assert findings()["webhook losses"].level == "ok"


def test_endpoints_secrets_are_among_the_sealed_ones(hooks: Any, findings: Any) -> None:
    """Both of them: a key that sealed either must not leave the ring."""
    hooks.execute("DELETE FROM webhook_secret")
    assert findings()["stored secrets"] == Finding("ok", "stored secrets", "0 sealed with the active key")
    former = KeyRing.parse(generate("former"))
    new = NewSubscription(url="https://example.com/", triggers=["webhook.test"], secret="c2VjcmV0c2VjcmV0c2VjcmV0")
    with hooks.db.begin() as connection:
        [made] = subscriptions.create(connection, hooks.keyring, hooks.project, [new], now=hooks.clock())
    assert "1 sealed with the active key" in findings()["stored secrets"].text
    with hooks.db.begin() as connection:
        subscriptions.rotate(
            connection, hooks.keyring, hooks.project, made.id, now=hooks.clock(), overlap=timedelta(hours=1)
        )
    assert "2 sealed with the active key" in findings()["stored secrets"].text
    place = subscriptions.secret_place("former_secret", made.id, hooks.project)
    hooks.execute("UPDATE webhook_subscription SET former_secret = :sealed", sealed=former.seal("x", place))
    lost = findings()["stored secrets"]
    assert (lost.level, "missing keys former" in lost.text) == ("broken", True)
