"""The command line for operators: every command tried, with what it prints."""

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from calendar_pipeline.cli import app
from calendar_pipeline.errors import CalendarPipelineError
from calendar_pipeline.secrets.keyring import KeyRing, generate


@pytest.fixture
def cli(hooks: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    keys = generate("cli")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE_URL": database_url,
        "CALENDAR_PIPELINE_KEYS": keys,
        "STATE_DIR": str(tmp_path),
        "WEBHOOK_ALLOW_HTTP": "true",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_PORTS": "any",
    }.items():
        monkeypatch.setenv(name, value)
    hooks.keyring = KeyRing.parse(keys)

    def cli(*words: str) -> str:
        result = CliRunner().invoke(app, ["webhooks", *words])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return cli


def test_from_a_new_webhook_to_its_recovery(cli: Any, hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    made = cli("create", hooks.project, endpoint.url, "--own-secret")
    webhook = re.search(r"webhook_\w{16}", made).group()
    assert "signing secret" in made
    assert endpoint.url in cli("list")
    endpoint.behave(behaviours.answer(410))
    cli("test", webhook)
    assert "0 delivered, 1 attempts failed" in cli("deliver")
    assert "disabled: gone" in cli("list")
    assert "held" in cli("deliveries", webhook)
    endpoint.behave(behaviours.answer(200))
    assert cli("enable", webhook) == "enabled\n"
    assert "1 delivered" in cli("deliver")
    assert "delivered" in cli("deliveries", webhook, "--status", "delivered")
    assert "signing secret" in cli("rotate-secret", webhook)
    hooks.execute("UPDATE webhook_delivery SET status = 'dead'")
    assert "1 deliveries are due now" in cli("recover", webhook, "--since", "2020-01-01")
    assert "1 delivered" in cli("deliver")
    assert cli("disable", webhook) == "disabled\n"
    assert {request.json["trigger"] for request in endpoint.requests} == {"webhook.test"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "p", "http://169.254.169.254/"), "not public"),
        (("create", "p", "https://x.example/", "--trigger", "what"), "No such trigger"),
        (("enable", "webhook_x"), "'calendar-pipeline webhooks list'"),
        (("deliveries", "webhook_x", "--status", "lost"), "--status is one of"),
    ],
)
def test_a_wrong_word_is_answered_with_what_to_do(cli: Any, words: Any, message: str) -> None:
    with pytest.raises(CalendarPipelineError, match=message):
        cli(*words)
