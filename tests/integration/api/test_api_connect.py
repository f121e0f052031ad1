"""Hosted connect, over HTTP: the application's link, a browser's way through it, and all the ways it must not go."""

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.connect import store
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar, connect_state
from calendar_pipeline.event import Platform
from calendar_pipeline.projects import audit
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from sandbox.server import Running, running

BASE = "https://pipeline.example"
RETURN = "https://notetaker.example/connected"
VISITS = 40
EVIL = [
    "https://evil.example/connected",
    "https://notetaker.example.evil.example/connected",
    "https://notetaker.example@evil.example/connected",
    "https://notetaker.example/connected/../evil",
    "https://notetaker.example/connected?next=https://evil.example",
    "https://notetaker.example/connected#x",
    "https://notetaker.example/Connected",
    "http://notetaker.example/connected",
    "https://notetaker.example:444/connected",
    "//evil.example/connected",
    "https:\\\\evil.example/connected",
    "javascript:alert(1)",
    "https://notetaker.example/connected\r\nset-cookie: a=b",
    "https://notetaker.еxample/connected",
]


@dataclass(frozen=True)
class At:
    """A provider, the other one, and who has accounts there."""

    platform: Platform
    other: Platform
    ada: str
    bob: str


PROVIDERS = [
    At("google", "microsoft", "ada@example.com", "bob@example.com"),
    At("microsoft", "google", "ada@contoso.example", "bob@contoso.example"),
]
TEAM = "Team <b>events</b>"


both = pytest.mark.parametrize("at", PROVIDERS, ids=lambda one: one.platform)
"""The same facts at either provider."""


@pytest.fixture
def at() -> At:
    """Where nothing depends on the provider, one will do."""
    return PROVIDERS[0]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        for one in PROVIDERS:
            for summary in (one.ada, TEAM):
                sandbox.create_calendar(account=one.ada, summary=summary, provider=one.platform)
            sandbox.create_calendar(account=one.bob, provider=one.platform)
        redirects = [f"{BASE}/connect/{one.platform}/callback" for one in PROVIDERS]
        sandbox.create_client("notes", client_secret="s3cret-of-notes", redirect_uris=redirects)
        yield sandbox


@pytest.fixture
def settings(sandbox: Running) -> Settings:
    return Settings(
        _env_file=None,
        public_base_url=BASE,
        google_api_base_url=f"{sandbox.url}/google",
        google_token_url=f"{sandbox.url}/google/token",
        google_authorize_url=f"{sandbox.url}/google/o/oauth2/v2/auth",
        microsoft_login_base_url=f"{sandbox.url}/microsoft/login",
        microsoft_graph_base_url=f"{sandbox.url}/microsoft/graph",
        connect_visits_per_minute=VISITS,
    )


@pytest.fixture
def registered(db: Database, keyring: KeyRing, tenant: Any, clock: Any) -> None:
    with db.begin() as conn:
        for one in PROVIDERS:
            store.register(
                conn,
                keyring,
                tenant.id,
                one.platform,
                client_id="notes",
                client_secret="s3cret-of-notes",
                return_urls=[RETURN],
                now=clock(),
            )


@dataclass
class Person:
    """Someone at a browser. Our pages and the provider's are fetched from where they are; nothing else is."""

    ours: httpx.Client
    at: At
    jar: httpx.Cookies = field(default_factory=httpx.Cookies)
    trail: list[httpx.Response] = field(default_factory=list)

    def send(self, method: str, url: str, **more: Any) -> httpx.Response:
        """One request of this browser, with its cookies only."""
        self.ours.cookies = self.jar
        answer = self.ours.request(method, str(httpx.URL(BASE).join(url)), follow_redirects=False, **more)
        self.jar = httpx.Cookies(self.ours.cookies)
        self.ours.cookies.clear()
        return answer

    def visit(self, url: str) -> httpx.Response:
        answer = self.send("GET", url)
        self.trail.append(answer)
        return answer

    def consent(self, url: str, account: str | None = None, *, scopes: str = "all", answer: str = "allow") -> str:
        """Say yes or no at the provider, as Ada unless told; where the browser is sent."""
        account = account or self.at.ada
        page = httpx.get(
            url, params={**{k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}, "account": account}
        )
        assert page.status_code == 200, page.text
        asked = re.findall(r'name="scope" value="([^"]+)"', page.text)
        ticked = asked if scopes == "all" else []
        return httpx.post(url, data={"account": account, "scope": ticked, "answer": answer}).headers["location"]

    def pick(self, page: httpx.Response, name: str) -> httpx.Response:
        """Choose the calendar of this name, and send the form."""
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        options = {
            name: value
            for value, name in re.findall(
                r'name="calendar" value="([^"]+)".*?class="name">([^<]*)<', page.text, re.DOTALL
            )
        }
        assert token
        assert name in options, options
        return self.send("POST", self.form, data={"token": token[1], "calendar": options[name]})

    @property
    def form(self) -> str:
        return f"/connect/{self.at.platform}/calendar"

    def another(self) -> "Person":
        """Somebody at another browser."""
        return Person(self.ours, self.at)


@pytest.fixture
def person(client: httpx.Client, at: At) -> Person:
    return Person(client, at)


Link = Callable[..., str]


@pytest.fixture
def link(client: httpx.Client, registered: None, at: At) -> Link:
    def link(**more: object) -> str:
        asked = client.post("/connect_links", json={"platform": at.platform, "return_url": RETURN} | more)
        assert asked.status_code == 201, asked.text
        return str(asked.json()["url"])

    return link


def told(location: str) -> dict[str, str]:
    assert location.startswith(f"{RETURN}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def connect(person: Person, link: str, pick: str | None = None) -> str:
    at_provider = person.visit(link).headers["location"]
    page = person.visit(person.consent(at_provider))
    assert page.status_code == 200, page.text
    return told(person.pick(page, pick or person.at.ada).headers["location"])["calendar_id"]


@both
def test_a_person_connects_the_main_calendar_and_the_application_gets_its_id(
    person: Person, link: Link, client: httpx.Client
) -> None:
    url = link(state="csrf-of-the-app", deduplication_key="ada", metadata={"user": "17"}, user_label="Ada L.")
    page = person.visit(person.consent(person.visit(url).headers["location"]))
    assert "Ada L." in page.text
    answer = person.pick(page, person.at.ada)
    assert answer.status_code == 303
    back = told(answer.headers["location"])
    assert back["state"] == "csrf-of-the-app"
    made = client.get(f"/calendars/{back['calendar_id']}").json()
    assert made["deduplication_key"] == "ada"
    assert made["metadata"] == {"user": "17"}
    assert made["platform_uuid"] is None
    assert made["state"] == "connected"


@both
def test_a_second_calendar_can_be_picked(person: Person, link: Link, client: httpx.Client, sandbox: Running) -> None:
    made = connect(person, link(), pick="Team &lt;b&gt;events&lt;/b&gt;")
    ours = [one for one in sandbox.calendars() if one["account"] == person.at.ada]
    [second] = [one["id"] for one in ours if one["summary"] == TEAM]
    assert client.get(f"/calendars/{made}").json()["platform_uuid"] == second


@both
def test_a_calendar_that_is_not_the_accounts_cannot_be_picked(person: Person, link: Link) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"]))
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    answer = person.send("POST", person.form, data={"token": token[1], "calendar": person.at.bob})
    assert answer.status_code == 400
    assert "Try again" in answer.text


@both
def test_the_same_key_reconnects_instead_of_adding(
    person: Person, link: Link, client: httpx.Client, db: Database, keyring: KeyRing
) -> None:
    first = connect(person, link(deduplication_key="ada"))
    with db.begin() as conn:
        conn.execute(sa.update(calendar).values(state="disconnected", next_sync_at=None))
    at_provider = person.visit(link(deduplication_key="ada")).headers["location"]
    answer = person.visit(person.consent(at_provider))
    assert told(answer.headers["location"])["calendar_id"] == first
    assert len(client.get("/calendars").json()["results"]) == 1
    with db.single() as conn:
        assert conn.execute(sa.select(calendar.c.next_sync_at)).scalar_one() is not None


@both
def test_another_account_cannot_reconnect(person: Person, link: Link, client: httpx.Client, db: Database) -> None:
    made = connect(person, link(deduplication_key="ada"))
    with db.single() as conn:
        before = conn.execute(sa.select(calendar.c.refresh_token)).scalar_one()
    at_provider = person.visit(link(calendar_id=made)).headers["location"]
    page = person.visit(person.consent(at_provider, person.at.bob))
    assert page.status_code == 409
    assert person.at.ada in page.text
    assert person.at.bob in page.text
    with db.single() as conn:
        assert conn.execute(sa.select(calendar.c.refresh_token)).scalar_one() == before
    again = re.search(r'href="(/connect/\w+\?link=[^"]+)"', page.text)
    assert again
    answer = person.visit(person.consent(person.visit(again[1]).headers["location"]))
    assert told(answer.headers["location"])["calendar_id"] == made


def test_a_calendar_brought_by_the_application_takes_the_first_account_that_reconnects(
    person: Person, link: Link, db: Database, keyring: KeyRing, tenant: Any, clock: Any
) -> None:
    new = NewCalendar(
        platform=person.at.platform, client_id="other", client_secret="x", refresh_token="y", deduplication_key="k"
    )
    with db.begin() as conn:
        made = calendars.create(conn, keyring, tenant.id, new, now=clock()).id
    answer = person.visit(person.consent(person.visit(link(deduplication_key="k")).headers["location"]))
    assert told(answer.headers["location"])["calendar_id"] == made
    with db.single() as conn:
        assert calendars.get(conn, tenant.id, made).client_id == "notes"
        seen = store.account(conn, made)
    assert seen is not None
    assert seen.email == person.at.ada


@both
def test_a_calendar_is_not_reconnected_at_the_other_provider(
    person: Person, link: Link, db: Database, keyring: KeyRing, tenant: Any, clock: Any
) -> None:
    new = NewCalendar(
        platform=person.at.other, client_id="m", client_secret="x", refresh_token="y", deduplication_key="k"
    )
    with db.begin() as conn:
        calendars.create(conn, keyring, tenant.id, new, now=clock())
    page = person.visit(person.consent(person.visit(link(deduplication_key="k")).headers["location"]))
    assert page.status_code == 409
    assert "Try again" not in page.text


# -- fault 52: state reused, expired, other browser; return URL evil


@both
def test_fault_52_a_state_works_once(person: Person, link: Link) -> None:
    callback = person.consent(person.visit(link()).headers["location"])
    assert person.visit(callback).status_code == 200
    again = person.visit(callback)
    assert again.status_code == 400
    assert "used already" in again.text


@both
def test_fault_52_a_link_works_once(person: Person, link: Link) -> None:
    url = link()
    assert person.visit(url).status_code == 303
    assert person.visit(url).status_code == 400


@both
def test_fault_52_a_choice_works_once(person: Person, link: Link, client: httpx.Client) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"]))
    done = person.pick(page, person.at.ada)
    assert done.status_code == 303
    other = person.another()
    for name in (person.at.ada, "Team &lt;b&gt;events&lt;/b&gt;"):
        assert person.pick(page, name).status_code == 400, "the cookie went with the first answer"
        assert other.pick(page, name).status_code == 400
    [made] = client.get("/calendars").json()["results"]
    assert (told(done.headers["location"])["calendar_id"], made["platform_uuid"]) == (made["id"], None)


def test_who_presses_the_button_twice_is_led_back_by_the_second_answer(
    person: Person, link: Link, client: httpx.Client, db: Database, clock: Any, tenant: Any
) -> None:
    """A browser shows the last answer only, and had not read the first: it said that the link was used already."""
    page = person.visit(
        person.consent(person.visit(link(user_label="Ada L.", metadata={"a": "b"})).headers["location"])
    )
    before = httpx.Cookies(person.jar)
    first = person.pick(page, person.at.ada)
    for name in (person.at.ada, "Team &lt;b&gt;events&lt;/b&gt;"):
        person.jar = httpx.Cookies(before)
        second = person.pick(page, name)
        assert (second.status_code, second.headers["location"]) == (303, first.headers["location"])
    [made] = client.get("/calendars").json()["results"]
    assert made["platform_uuid"] is None
    with db.single() as conn:
        [entry] = [one for one in audit.entries(conn, tenant.id, limit=9) if one.action.startswith("connect ")]
        kept = conn.execute(sa.select(connect_state)).mappings().one()
    assert entry.subject == made["id"]
    assert {kept[name] for name in ("refresh_token", "account_email", "choices", "user_label", "metadata")} == {None}
    clock.pass_by(minutes=10, seconds=1)
    person.jar = httpx.Cookies(before)
    assert person.pick(page, person.at.ada).status_code == 400


def test_the_second_press_waits_for_the_first(person: Person, link: Link, client: httpx.Client, db: Database) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"]))
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    body = {"token": token[1], "calendar": re.findall(r'name="calendar" value="([^"]+)"', page.text)[0]}
    cookie = "; ".join(f"{name}={value}" for name, value in person.jar.items())

    def press() -> httpx.Response:
        return person.ours.post(f"{BASE}{person.form}", data=body, headers={"cookie": cookie}, follow_redirects=False)

    with ThreadPoolExecutor(2) as pool:
        with db.begin() as conn:
            conn.execute(sa.text("LOCK TABLE calendar IN ACCESS EXCLUSIVE MODE"))
            pressed = [pool.submit(press) for _ in range(2)]
            while _waiting(db) < 2:
                assert not any(one.done() for one in pressed)
        answers = [one.result(30) for one in pressed]
    assert {one.status_code for one in answers} == {303}
    assert len({one.headers["location"] for one in answers}) == 1
    assert len(client.get("/calendars").json()["results"]) == 1


def _waiting(db: Database) -> int:
    with db.single() as conn:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int(conn.execute(sa.text(query)).scalar_one())


@both
@pytest.mark.parametrize("stage", ["link", "callback", "choice"])
def test_fault_52_nothing_works_after_ten_minutes(person: Person, link: Link, clock: Any, stage: str) -> None:
    url = link()
    if stage != "link":
        url = person.consent(person.visit(url).headers["location"])
    page = person.visit(url) if stage == "choice" else None
    clock.pass_by(minutes=10, seconds=1)
    answer = person.visit(url) if page is None else person.pick(page, person.at.ada)
    assert answer.status_code == 400
    assert "too old" in answer.text


@both
def test_fault_52_a_state_works_in_no_other_browser_and_stays_good_in_its_own(person: Person, link: Link) -> None:
    callback = person.consent(person.visit(link()).headers["location"])
    other = person.another()
    page = other.visit(callback)
    assert page.status_code == 400
    assert "another browser" in page.text
    assert person.visit(callback).status_code == 200


@both
def test_fault_52_a_choice_works_in_no_other_browser(person: Person, link: Link) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"]))
    assert person.another().pick(page, person.at.ada).status_code == 400
    assert person.pick(page, person.at.ada).status_code == 303


@both
def test_fault_52_another_persons_cookie_is_none(person: Person, link: Link) -> None:
    """Two people under way at once: each has a cookie, and neither fits the other's state."""
    other = person.another()
    other.visit(link())
    callback = person.consent(person.visit(link()).headers["location"])
    assert other.visit(callback).status_code == 400


@both
def test_fault_52_an_evil_return_url_is_refused(client: httpx.Client, registered: None, at: At) -> None:
    for evil in EVIL:
        answer = client.post("/connect_links", json={"platform": at.platform, "return_url": evil})
        assert (answer.status_code, list(answer.json())) == (400, ["return_url"]), evil


@both
def test_fault_52_a_browser_cannot_change_where_it_leads_back_to(person: Person, link: Link) -> None:
    evil = "&return_url=https%3A%2F%2Fevil.example%2F&redirect_uri=https%3A%2F%2Fevil.example%2F"
    at_provider = person.visit(link() + evil).headers["location"]
    assert parse_qs(urlsplit(at_provider).query)["redirect_uri"] == [f"{BASE}/connect/{person.at.platform}/callback"]
    page = person.visit(person.consent(at_provider) + evil)
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    chosen = re.search(r'name="calendar" value="([^"]+)"', page.text)
    assert token
    assert chosen
    answer = person.send(
        "POST",
        f"{person.form}?{evil[1:]}",
        data={"token": token[1], "calendar": chosen[1], "return_url": "https://evil.example/"},
    )
    assert told(answer.headers["location"])["calendar_id"].startswith("cal_")


@both
def test_a_state_of_one_provider_is_none_of_the_other(person: Person, link: Link) -> None:
    callback = person.consent(person.visit(link()).headers["location"])
    assert person.visit(callback.replace(person.at.platform, person.at.other)).status_code == 400
    assert person.visit(callback).status_code == 200


# -- what a person may do at the provider


@both
def test_who_denies_is_told_what_to_do_and_the_application_can_know(person: Person, link: Link) -> None:
    at_provider = person.visit(link(state="s")).headers["location"]
    page = person.visit(person.consent(at_provider, answer="deny"))
    assert page.status_code == 403
    assert "did not allow" in page.text
    assert f'href="{RETURN}?error=denied&amp;state=s"' in page.text
    assert "Try again" in page.text


@both
def test_who_unticks_the_calendar_is_asked_again(person: Person, link: Link, client: httpx.Client) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"], scopes="none"))
    assert page.status_code == 403
    assert "not ticked" in page.text
    assert client.get("/calendars").json()["results"] == []


def test_what_a_provider_or_a_query_says_is_never_shown(person: Person, link: Link) -> None:
    state = parse_qs(urlsplit(person.visit(link()).headers["location"]).query)["state"][0]
    said = "<script>alert(1)</script>"
    page = person.send(
        "GET",
        f"/connect/{person.at.platform}/callback",
        params={"state": state, "error": said, "error_description": said},
    )
    assert page.status_code == 400
    assert "script" not in page.text


@both
@pytest.mark.parametrize(("trouble", "says"), [("down", "does not answer"), ("wrong secret", "support")])
def test_a_provider_in_trouble_connects_nothing_and_says_what_to_do(
    person: Person,
    link: Link,
    sandbox: Running,
    db: Database,
    tenant: Any,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    says: str,
) -> None:
    """To the person; the operator is told the provider's machine code."""
    fault, code = {
        ("google", "down"): ("unavailable", "token_http_503"),
        ("google", "wrong secret"): ("invalid_client", "invalid_client"),
        ("microsoft", "down"): ("aadsts90033", "token_http_503"),
        ("microsoft", "wrong secret"): ("aadsts7000215", "invalid_client:AADSTS7000215"),
    }[person.at.platform, trouble]
    callback = person.consent(person.visit(link()).headers["location"])
    sandbox.add_fault(fault, endpoint="token")
    try:
        page = person.visit(callback)
    finally:
        sandbox.clear_faults()
    assert page.status_code == 503
    assert says in page.text
    assert code not in page.text
    [entry] = entries(db, tenant.id)
    assert entry[0].endswith(f" ({code})")
    [warned] = [one.getMessage() for one in caplog.records if one.name == "calendar_pipeline.connect.run"]
    assert warned.endswith(f" ({code})")


# -- what holds for every answer


def test_the_browser_is_bound_by_a_host_cookie(person: Person, link: Link) -> None:
    cookie = person.visit(link()).headers["set-cookie"]
    assert cookie.startswith("__Host-connect-")
    for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"):
        assert word in cookie
    assert "Domain" not in cookie


@both
def test_pkce_and_state_go_to_the_provider_and_the_secret_does_not(person: Person, link: Link) -> None:
    asked = parse_qs(urlsplit(person.visit(link(login_hint=person.at.ada)).headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert asked["redirect_uri"] == [f"{BASE}/connect/{person.at.platform}/callback"]
    assert asked["login_hint"] == [person.at.ada]
    lasting = {
        "google": (["offline"], ["consent"], True),
        "microsoft": (None, ["select_account"], "offline_access" in asked["scope"][0].split()),
    }
    assert (asked.get("access_type"), asked["prompt"], True) == lasting[person.at.platform]
    assert "client_secret" not in asked


def test_pages_run_no_code_and_tell_nobody_where_the_browser_was(person: Person, link: Link) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"]))
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; style-src 'self'; form-action 'self' https://notetaker.example;")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert person.trail[0].headers["referrer-policy"] == "no-referrer"


def test_head_uses_nothing_up(person: Person, link: Link) -> None:
    url = link()
    assert person.send("HEAD", url).status_code == 405
    assert person.visit(url).status_code == 303


def test_nothing_secret_is_stored_in_the_clear_or_logged(
    person: Person, link: Link, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = link()
    at_provider = person.visit(url).headers["location"]
    callback = person.consent(at_provider)
    person.visit(callback)
    query = parse_qs(urlsplit(callback).query)
    secrets = [
        url.partition("link=")[2],
        query["state"][0],
        query["code"][0],
        *person.jar.values(),
        "s3cret-of-notes",
    ]
    with db.single() as conn:
        stored = repr(conn.execute(sa.select(connect_state)).all())
        stored += repr(conn.execute(sa.text("SELECT * FROM oauth_application")).all())
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    logged = " ".join(record.getMessage() for record in ours)
    assert "/connect/{platform" in logged
    for secret in secrets:
        assert secret not in stored
        assert secret not in logged
    assert "1//sandbox" not in stored


def test_connections_that_ran_out_are_forgotten(person: Person, link: Link, db: Database, clock: Any) -> None:
    person.visit(person.consent(person.visit(link()).headers["location"]))
    clock.pass_by(minutes=11)
    link()
    with db.single() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(connect_state)).scalar_one() == 1


def test_without_a_registered_application_there_is_no_link(client: httpx.Client) -> None:
    answer = client.post("/connect_links", json={"platform": "google", "return_url": RETURN})
    assert answer.status_code == 400
    assert "connect register" in answer.json()["platform"][0]


def test_another_projects_calendar_cannot_be_reconnected(
    client: httpx.Client, registered: None, db: Database, keyring: KeyRing, stranger: Any, clock: Any
) -> None:
    with db.begin() as conn:
        new = NewCalendar(platform="google", client_id="c", client_secret="x", refresh_token="y")
        theirs = calendars.create(conn, keyring, stranger.id, new, now=clock()).id
    body = {"platform": "google", "return_url": RETURN, "calendar_id": theirs}
    answer = client.post("/connect_links", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["calendar_id"]


def test_two_people_with_one_key_make_one_calendar(person: Person, link: Link, client: httpx.Client) -> None:
    """Both are at the page with the calendars when the first one picks: the second reconnects."""
    other = person.another()
    pages = [
        one.visit(one.consent(one.visit(link(deduplication_key="ada")).headers["location"])) for one in (person, other)
    ]
    made = [
        told(one.pick(page, one.at.ada).headers["location"]) for one, page in zip((person, other), pages, strict=True)
    ]
    assert made[0] == made[1]
    assert len(client.get("/calendars").json()["results"]) == 1


# -- the audit log, and how often one may come


def entries(db: Database, project: str) -> list[tuple[str, str | None, int | None]]:
    with db.single() as conn:
        found = audit.entries(conn, project, limit=100)
        applications = {one.id for one in store.applications(conn) if one.project_id == project}
    people = [one for one in found if one.actor in applications]
    assert len({one.request_id for one in people}) == len(people)
    return [(one.action, one.subject, one.status) for one in people]


@both
def test_the_audit_log_says_what_came_of_each_visit_and_by_which_application(
    person: Person, link: Link, db: Database, tenant: Any
) -> None:
    name = f"connect {person.at.platform}"
    person.visit(person.consent(person.visit(link()).headers["location"], answer="deny"))
    made = connect(person, link(deduplication_key="ada"))
    person.visit(person.consent(person.visit(link(calendar_id=made)).headers["location"], person.at.bob))
    person.visit(person.consent(person.visit(link(calendar_id=made)).headers["location"]))
    assert entries(db, tenant.id) == [
        (f"{name}: refused: denied", None, 0),
        (f"{name}: calendar created", made, 0),
        (f"{name}: refused: other_account", made, 0),
        (f"{name}: calendar reconnected", made, 0),
    ]


def test_an_entry_has_the_id_of_the_request(person: Person, link: Link, db: Database, tenant: Any) -> None:
    page = person.visit(person.consent(person.visit(link()).headers["location"], answer="deny"))
    with db.single() as conn:
        last = audit.latest(conn, tenant.id, limit=1)[0]
    assert last.request_id == page.headers["x-request-id"]


def test_visitors_without_a_link_leave_nothing_and_are_asked_to_wait(
    person: Person, link: Link, db: Database, tenant: Any
) -> None:
    url, token = link(), f"connect_{'0' * 16}.{'A' * 43}"
    with db.single() as conn:
        before = conn.execute(sa.select(connect_state)).all()
    answers = [person.visit(f"/connect/{person.at.platform}?link={token}") for _ in range(VISITS)]
    assert {one.status_code for one in answers} == {400}
    page = person.visit(url)
    assert page.status_code == 429
    assert 1 <= int(page.headers["retry-after"]) <= 60
    assert "wait a moment, then load this page again" in page.text
    assert person.send("GET", "/connect/style.css").status_code == 200
    assert person.ours.get("/calendars").status_code == 200
    with db.single() as conn:
        assert conn.execute(sa.select(connect_state)).all() == before
    assert entries(db, tenant.id) == []


def test_an_application_makes_no_more_links_than_its_budget(
    client: httpx.Client, registered: None, db: Database, tenant: Any, at: At
) -> None:
    """Its own budget: that of the contract, for calendars and bots, is not touched."""
    with db.begin() as conn:
        conn.execute(
            sa.text("INSERT INTO rate_limit VALUES (:name, clock_timestamp() + interval '1 hour')"),
            {"name": f"link {tenant.id}"},
        )
    answer = client.post("/connect_links", json={"platform": at.platform, "return_url": RETURN})
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert client.post("/calendars", json={}).status_code == 400


@pytest.mark.parametrize(("path", "status"), [("/connect/apple", 404), ("/connect/apple/callback", 404)])
def test_what_goes_wrong_where_people_are_is_said_on_a_page(client: httpx.Client, path: str, status: int) -> None:
    page = client.get(f"{BASE}{path}")
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert "There is no such page" in page.text
