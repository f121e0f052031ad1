"""Entra's stand-in over HTTP: discovery, tokens that rotate and age, and every refusal."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msal
import pytest
import urllib3

from sandbox.microsoft import entra
from sandbox.microsoft.faults import AADSTS, OTHER_TOKEN
from sandbox.server import Running, running

ME = "a@contoso.example"
SCOPE = "https://graph.microsoft.com/Calendars.Read"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
BACK = "http://127.0.0.1/back"


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Running) -> Running:
    shared.world.__init__()
    shared.world.base_url = shared.url
    shared.world.set_clock(NOW, frozen=True)
    shared.create_calendar(account=ME, refresh_token="r1", provider="microsoft")
    return shared


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    manager = urllib3.PoolManager(retries=False, timeout=10)
    yield manager
    manager.clear()


class Asker:
    """The token endpoint, asked as an application does."""

    def __init__(self, http: urllib3.PoolManager, sandbox: Running) -> None:
        self.http, self.sandbox = http, sandbox

    def __call__(self, tenant: str = "common", **form: str | None) -> urllib3.BaseHTTPResponse:
        whole: dict[str, str | None] = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
        whole |= {"grant_type": "refresh_token", "refresh_token": "r1", "scope": SCOPE} | form
        told = {name: value for name, value in whole.items() if value is not None}
        url = f"{self.sandbox.login_url}/{tenant}/oauth2/v2.0/token"
        return self.http.request("POST", url, fields=told, encode_multipart=False)

    def me(self, token: str) -> urllib3.BaseHTTPResponse:
        """Use an access token."""
        headers = {"authorization": f"Bearer {token}"}
        return self.http.request("GET", f"{self.sandbox.graph_url}/v1.0/me", headers=headers)


@pytest.fixture
def ask(http: urllib3.PoolManager, sandbox: Running) -> Asker:
    return Asker(http, sandbox)


def refused(reply: urllib3.BaseHTTPResponse) -> tuple[int, str, int]:
    body = reply.json()
    return reply.status, body["error"], body["error_codes"][0]


class Redirect:
    """msal's http client, sent to the sandbox."""

    def __init__(self, http: urllib3.PoolManager, base: str) -> None:
        self.http, self.base = http, base

    def get(self, url: str, params: Any = None, headers: Any = None, **_: object) -> Any:
        return self._answer(self.http.request("GET", self._there(url), fields=params, headers=headers))

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: object) -> Any:  # noqa: ARG002
        told = self.http.request("POST", self._there(url), fields=data, headers=headers, encode_multipart=False)
        return self._answer(told)

    def close(self) -> None:
        pass

    def _there(self, url: str) -> str:
        assert url.startswith(entra.LOGIN)
        return self.base + url.removeprefix(entra.LOGIN)

    def _answer(self, reply: urllib3.BaseHTTPResponse) -> Any:
        answer = type("Answer", (), {})()
        answer.status_code, answer.text, answer.headers = reply.status, reply.data.decode(), dict(reply.headers)
        answer.raise_for_status = lambda: None
        return answer


@pytest.mark.parametrize("tenant", ["common", "organizations", "contoso.example"])
def test_msal_signs_in_by_the_discovery_document(sandbox: Running, http: urllib3.PoolManager, tenant: str) -> None:
    application = msal.ConfidentialClientApplication(
        "sandbox-client",
        client_credential="sandbox-secret",
        authority=f"https://login.microsoftonline.com/{tenant}",
        instance_discovery=False,
        http_client=Redirect(http, sandbox.login_url),
    )
    answer: Any = application.acquire_token_by_refresh_token("r1", scopes=[SCOPE])
    assert set(answer["scope"].split()) == {SCOPE, "openid", "profile"}
    assert answer["refresh_token"] != "r1"
    assert answer["id_token_claims"]["preferred_username"] == ME
    assert [row.endpoint for row in sandbox.requests()] == ["discovery", "token"]


def test_a_tenant_that_is_not_there_has_no_document(sandbox: Running, http: urllib3.PoolManager) -> None:
    url = f"{sandbox.login_url}/nowhere.example/v2.0/.well-known/openid-configuration"
    assert refused(http.request("GET", url)) == (400, "invalid_request", 90002)


def test_a_refresh_rotates_and_the_used_token_stays_valid(ask: Asker) -> None:
    first, second = ask().json(), ask().json()
    assert len({"r1", first["refresh_token"], second["refresh_token"]}) == 3
    assert (first["token_type"], first["expires_in"], first["ext_expires_in"]) == ("Bearer", 3599, 3599)
    assert ask.me(first["access_token"]).json()["userPrincipalName"] == ME


def test_a_token_dies_of_age_and_a_rotated_one_lives_on(ask: Asker, sandbox: Running) -> None:
    sandbox.advance(timedelta(days=89))
    young = ask().json()["refresh_token"]
    sandbox.advance(timedelta(days=2))
    reply = ask()
    assert refused(reply) == (400, "invalid_grant", 700082)
    assert "inactive for 90.00:00:00" in reply.json()["error_description"]
    assert ask(refresh_token=young).status == 200


def test_an_access_token_ends(ask: Asker, sandbox: Running) -> None:
    token = ask().json()["access_token"]
    sandbox.advance(timedelta(seconds=3600))
    reply = ask.me(token)
    assert (reply.status, reply.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


def test_who_removes_the_application_revokes_all_that_was_rotated(ask: Asker, sandbox: Running) -> None:
    told = ask().json()
    sandbox.revoke("r1")
    assert refused(ask(refresh_token=told["refresh_token"])) == (400, "invalid_grant", 50173)
    assert ask.me(told["access_token"]).status == 200


def test_a_client_that_answers_challenges_has_long_tokens_and_hears_of_revocation_at_once(
    ask: Asker, sandbox: Running
) -> None:
    told = ask(claims='{"access_token":{"xms_cc":{"values":["cp1"]}}}').json()
    assert told["expires_in"] == 86_400
    sandbox.revoke("r1")
    reply = ask.me(told["access_token"])
    header = reply.headers["www-authenticate"]
    assert (reply.status, 'error="insufficient_claims"' in header) == (401, True)
    claims = base64.b64decode(header.partition('claims="')[2].rstrip('"')).decode()
    assert json.loads(claims)["access_token"]["nbf"]["essential"] is True


def test_a_challenge_is_answered_by_a_token_with_its_claims(ask: Asker, sandbox: Running) -> None:
    sandbox.add_fault("claims_challenge", endpoint="me", times=None)
    reply = ask.me(ask().json()["access_token"])
    assert reply.status == 401
    claims = base64.b64decode(reply.headers["www-authenticate"].partition('claims="')[2].rstrip('"')).decode()
    assert ask.me(ask(claims=claims).json()["access_token"]).status == 200


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client", 7000215)),
        ({"client_secret": None}, (401, "invalid_client", 7000218)),
        ({"client_id": "nobody"}, (400, "unauthorized_client", 700016)),
        ({"refresh_token": "x"}, (400, "invalid_grant", 70000)),
        ({"refresh_token": None}, (400, "invalid_request", 900144)),
        ({"grant_type": None}, (400, "invalid_request", 900144)),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", 70003)),
        ({"scope": "https://graph.microsoft.com/Mail.Read"}, (400, "invalid_grant", 70000)),
        ({"tenant": "nowhere.example"}, (400, "invalid_request", 90002)),
        ({"tenant": "consumers"}, (400, "invalid_grant", 90072)),
        ({"tenant": "fabrikam.example"}, (400, "invalid_grant", 90072)),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_request_has_its_code(
    ask: Asker, sandbox: Running, form: dict[str, str | None], answer: tuple[int, str, int]
) -> None:
    sandbox.create_calendar(account="b@fabrikam.example", provider="microsoft")
    assert refused(ask(**form)) == answer  # type: ignore[arg-type]


def test_a_personal_account_lives_with_consumers(ask: Asker, sandbox: Running) -> None:
    sandbox.create_calendar(account="b@outlook.com", refresh_token="r2", provider="microsoft")
    assert ask("consumers", refresh_token="r2").status == 200
    assert refused(ask("organizations", refresh_token="r2")) == (400, "invalid_grant", 50020)


@pytest.mark.parametrize("code", AADSTS)
def test_every_code_can_be_provoked_for_one_user(ask: Asker, sandbox: Running, code: int) -> None:
    sandbox.create_calendar(account="b@contoso.example", refresh_token="r2", provider="microsoft")
    sandbox.add_fault(f"aadsts{code}", account=ME, retry_after=7)
    assert ask(refresh_token="r2").status == 200
    reply = ask()
    assert refused(reply) == (AADSTS[code].status, AADSTS[code].error, code)
    assert reply.json()["error_description"].startswith(f"AADSTS{code}: ")
    assert reply.json().get("suberror") == AADSTS[code].suberror
    assert reply.headers["retry-after"] == "7"
    assert ask().status == 200


@pytest.mark.parametrize("kind", OTHER_TOKEN)
def test_other_refusals_can_be_provoked_for_one_client(ask: Asker, sandbox: Running, kind: str) -> None:
    sandbox.add_fault(kind, client_id="another", provider="microsoft")
    assert ask().status == 200
    sandbox.add_fault(kind, client_id="sandbox-client", provider="microsoft")
    assert (reply := ask()).json()["error"] == OTHER_TOKEN[kind].error
    assert reply.status == OTHER_TOKEN[kind].status


def test_the_token_endpoint_may_answer_with_a_page(ask: Asker, sandbox: Running) -> None:
    sandbox.add_fault("html_unavailable", endpoint="token", retry_after=3)
    reply = ask()
    assert (reply.status, reply.headers["content-type"]) == (503, "text/html; charset=UTF-8")
    assert reply.headers["retry-after"] == "3"


def test_what_comes_back_may_lack_a_scope_or_a_refresh_token(ask: Asker, sandbox: Running) -> None:
    sandbox.add_fault("scope_missing", provider="microsoft")
    assert "Calendars" not in ask().json()["scope"]
    sandbox.add_fault("no_refresh_token")
    assert "refresh_token" not in ask().json()


def test_a_code_works_once_with_its_verifier_and_not_for_long(ask: Asker, sandbox: Running) -> None:
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")

    def code(**more: str) -> str:
        challenged = {"code_challenge": challenge, "code_challenge_method": "S256"} | more
        return sandbox.issue_code(ME, client_id="sandbox-client", redirect_uri=BACK, **challenged)

    def exchange(code: str, **form: str) -> urllib3.BaseHTTPResponse:
        given = {"code": code, "redirect_uri": BACK, "code_verifier": verifier} | form
        return ask(grant_type="authorization_code", refresh_token=None, **given)

    good = code()
    assert refused(exchange(good, code_verifier="wrong")) == (400, "invalid_grant", 501481)
    assert refused(exchange(good, redirect_uri="http://127.0.0.1/other")) == (400, "invalid_grant", 500112)
    told = exchange(good).json()
    assert ask(refresh_token=told["refresh_token"]).status == 200
    assert refused(exchange(good)) == (400, "invalid_grant", 54005)
    assert refused(exchange("nonsense")) == (400, "invalid_grant", 70000)
    assert "refresh_token" not in exchange(code(scope=SCOPE)).json()
    late = code()
    sandbox.advance(timedelta(minutes=11))
    assert refused(exchange(late)) == (400, "invalid_grant", 70008)
