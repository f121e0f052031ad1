"""Notifications from providers: genuine ones ask for a sync, all others do nothing and are counted."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.testing import TestClient

from api import services
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.channels.plan import hashed
from calendar_pipeline.db.connect import Database

GOOGLE = "/external_webhooks/google_calendar"
MICROSOFT = "/external_webhooks/microsoft_calendar"


class Pushed:
    """Calendars with a channel each, that were synced a while ago; and what notifications do to them."""

    def __init__(
        self, app: Litestar, client: httpx.Client, db: Database, keyring: Any, clock: Any, project: str
    ) -> None:
        self.app, self.client, self.db, self.clock = app, client, db, clock
        self._keyring, self._project = keyring, project

    def follow(self, name: str, platform: Any = "google", **channel: Any) -> str:
        with self.db.begin() as conn:
            new = NewCalendar(platform=platform, client_id="c", client_secret="s", refresh_token="r")
            made = calendars.create(conn, self._keyring, self._project, new, now=self.clock())
            conn.execute(
                sa.text(
                    "UPDATE calendar SET synced_gen = 1, last_attempted_sync_at = :then, "
                    "last_successful_sync_at = :then, next_sync_at = :later WHERE id = :id"
                ),
                {"id": made.id, "then": self.clock() - timedelta(hours=1), "later": self.clock() + timedelta(hours=1)},
            )
            row = {
                "id": f"chn_{name}", "calendar_id": made.id, "project_id": self._project, "platform": platform,
                "state": "live", "token_hash": hashed(f"token-{name}"), "path_hash": hashed(f"path-{name}"),
                "remote_id": f"sub-{name}" if platform == "microsoft" else None,
                "resource_id": f"res-{name}" if platform == "google" else None,
                "expires_at": self.clock() + timedelta(days=3), "confirmed_at": self.clock(),
            } | channel  # fmt: skip
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            conn.execute(sa.text(f"INSERT INTO notification_channel ({names}) VALUES ({values})"), row)
        return made.id

    def google(self, name: str, *, path: str = "", **headers: str) -> int:
        given = {
            "x-goog-channel-id": f"chn_{name}", "x-goog-channel-token": f"token-{name}",
            "x-goog-resource-id": f"res-{name}", "x-goog-resource-state": "exists", "x-goog-message-number": "7",
        } | {key.replace("_", "-"): value for key, value in headers.items()}  # fmt: skip
        return self.client.post(GOOGLE + path, headers=given).status_code

    def microsoft(self, *entries: dict[str, Any], path: str = "") -> int:
        return self.client.post(MICROSOFT + path, json={"value": list(entries)}).status_code

    def is_asked(self, calendar: str) -> bool:
        [row] = self.rows("SELECT * FROM calendar WHERE id = :id", id=calendar)
        return bool(row["requested_gen"] > row["synced_gen"])

    def rows(self, query: str, **given: Any) -> list[Any]:
        with self.db.single() as conn:
            return list(conn.execute(sa.text(query), given).mappings())

    def execute(self, statement: str, **given: Any) -> None:
        with self.db.single() as conn:
            conn.execute(sa.text(statement), given)

    def counted(self, platform: str, verdict: str) -> float:
        registry = self.app.state[services.STATE].metrics.registry
        labels = {"platform": platform, "verdict": verdict}
        return registry.get_sample_value("calendar_pipeline_notifications_total", labels) or 0.0


@pytest.fixture
def pushed(app: Litestar, db: Database, keyring: Any, clock: Any, tenant: Any) -> Any:
    with TestClient(app, base_url="http://testserver.local") as client:
        yield Pushed(app, client, db, keyring, clock, tenant.id)


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "subscriptionId": f"sub-{name}", "clientState": f"token-{name}", "changeType": "updated",
        "resource": "Users/1/Events/2", "resourceData": {"id": "2"},
    } | changes  # fmt: skip


@pytest.mark.parametrize("path", ["", "/path-ada"], ids=["common path", "own path"])
@pytest.mark.parametrize("state", ["exists", "not_exists"])
def test_a_genuine_notification_asks_for_a_sync_at_once(pushed: Pushed, path: str, state: str) -> None:
    ada = pushed.follow("ada")
    assert pushed.google("ada", path=path, x_goog_resource_state=state) == 200
    [row] = pushed.rows("SELECT * FROM calendar WHERE id = :id", id=ada)
    assert (row["requested_gen"], row["next_sync_at"], row["pushed_at"]) == (2, pushed.clock(), pushed.clock())
    [channel] = pushed.rows("SELECT * FROM notification_channel")
    assert (channel["notifications"], channel["last_notified_at"]) == (1, pushed.clock())


@pytest.mark.parametrize(
    ("verdict", "path", "forged"),
    [
        ("wrong_token", "", {"x_goog_channel_token": "guessed"}),
        ("wrong_token", "", {"x_goog_channel_token": ""}),
        ("unknown_channel", "", {"x_goog_channel_id": "chn_other"}),
        ("unknown_channel", "", {"x_goog_channel_id": ""}),
        ("wrong_resource", "", {"x_goog_resource_id": "other"}),
        ("wrong_path", "/path-guessed", {}),
    ],
)
def test_fault_43_a_forged_google_notification_is_refused_and_counted(
    pushed: Pushed, verdict: str, path: str, forged: dict[str, str]
) -> None:
    """404: Google would not repeat it, and nobody learns what was wrong."""
    ada = pushed.follow("ada")
    assert pushed.google("ada", path=path, **forged) == 404
    assert not pushed.is_asked(ada)
    assert pushed.counted("google", verdict) == 1
    assert pushed.counted("google", "genuine") == 0


def test_the_greeting_confirms_the_channel_and_asks_for_nothing(pushed: Pushed) -> None:
    ada = pushed.follow("ada", confirmed_at=None, resource_id=None, state="asked")
    assert pushed.google("ada", x_goog_resource_state="sync") == 200
    assert not pushed.is_asked(ada)
    [channel] = pushed.rows("SELECT * FROM notification_channel")
    assert (channel["confirmed_at"], channel["resource_id"]) == (pushed.clock(), "res-ada")


def test_a_strangers_greeting_is_answered_as_the_compatible_api_does(pushed: Pushed) -> None:
    assert pushed.google("nobody", x_goog_resource_state="sync") == 200
    assert pushed.client.post(GOOGLE, headers={"x-goog-resource-state": "sync"}).status_code == 200


def test_notifications_of_a_disconnected_or_deleted_calendar_are_taken_and_do_nothing(pushed: Pushed) -> None:
    """Channels outlive the user's consent."""
    ada, bob = pushed.follow("ada"), pushed.follow("bob")
    pushed.execute("UPDATE calendar SET state = 'disconnected', next_sync_at = NULL WHERE id = :id", id=ada)
    pushed.execute("DELETE FROM calendar WHERE id = :id", id=bob)
    assert (pushed.google("ada"), pushed.google("bob")) == (200, 200)
    assert not pushed.is_asked(ada)


def test_fault_41_a_storm_asks_for_one_sync(pushed: Pushed) -> None:
    """10,000 notifications of one calendar: one row is written, and the sync that is asked for will see them all."""
    ada = pushed.follow("ada")
    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda _: pushed.google("ada"), range(1000)))
    assert statuses == {200}
    [row] = pushed.rows("SELECT * FROM calendar WHERE id = :id", id=ada)
    assert row["requested_gen"] <= 2 + 8
    assert pushed.rows("SELECT notifications FROM notification_channel")[0]["notifications"] == row["requested_gen"] - 1


def test_the_next_sync_waits_until_the_window_is_over(pushed: Pushed) -> None:
    ada = pushed.follow("ada")
    pushed.execute("UPDATE calendar SET last_attempted_sync_at = :now WHERE id = :id", now=pushed.clock(), id=ada)
    pushed.google("ada")
    [row] = pushed.rows("SELECT * FROM calendar WHERE id = :id", id=ada)
    assert row["next_sync_at"] == pushed.clock() + timedelta(seconds=3)


def test_fault_42_a_notification_during_a_sync_asks_for_another(pushed: Pushed) -> None:
    ada = pushed.follow("ada")
    pushed.google("ada")
    pushed.execute("UPDATE calendar SET lease_until = clock_timestamp() + interval '1 minute' WHERE id = :id", id=ada)
    pushed.google("ada")
    [row] = pushed.rows("SELECT * FROM calendar WHERE id = :id", id=ada)
    assert row["requested_gen"] == 3


def test_a_failing_calendar_keeps_to_its_pause(pushed: Pushed) -> None:
    ada = pushed.follow("ada")
    pushed.execute("UPDATE calendar SET failures = 2 WHERE id = :id", id=ada)
    assert pushed.google("ada") == 200
    [row] = pushed.rows("SELECT * FROM calendar WHERE id = :id", id=ada)
    assert row["next_sync_at"] == pushed.clock() + timedelta(hours=1)


def test_without_a_database_google_is_asked_to_try_again(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed.follow("ada")
    with Database("postgresql://nobody@127.0.0.1:1/none") as broken:
        service = pushed.app.state[services.STATE]
        monkeypatch.setitem(
            pushed.app.state._state, services.STATE, type(service)(**{**_fields(service), "db": broken})
        )
        assert pushed.google("ada") == 503
        assert pushed.microsoft(entry("ada")) == 503


def _fields(service: Any) -> dict[str, Any]:
    return {name: getattr(service, name) for name in service.__dataclass_fields__}


def test_answers_come_while_another_writes_to_the_calendar_for_long(pushed: Pushed) -> None:
    """The row is locked for as long as a sync writes; the look that most notifications end with is not."""
    ada = pushed.follow("ada")
    pushed.google("ada")
    with pushed.db.begin() as conn:
        conn.execute(sa.text("SELECT FROM calendar WHERE id = :id FOR UPDATE"), {"id": ada})
        started = time.monotonic()
        assert pushed.google("ada") == 200
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_taken(pushed: Pushed, method: str) -> None:
    for path in (GOOGLE, MICROSOFT, f"{GOOGLE}/x", f"{MICROSOFT}/x"):
        assert pushed.client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["", "/path-ada"])
def test_the_handshake_is_answered_in_plain_text(pushed: Pushed, path: str) -> None:
    answer = pushed.client.post(MICROSOFT + path, params={"validationToken": "Validation: <b>1</b> & ü+"})
    assert (answer.status_code, answer.text) == (200, "Validation: <b>1</b> & ü+")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert pushed.client.post(MICROSOFT, params={"validationToken": "x" * 1025}).status_code == 400


def test_a_genuine_subscription_asks_for_a_sync(pushed: Pushed) -> None:
    ada = pushed.follow("ada", "microsoft")
    assert pushed.microsoft(entry("ada"), path="/path-ada") == 200
    assert pushed.is_asked(ada)


def test_fault_43_a_wrong_client_state_spoils_its_own_entry_only(pushed: Pushed) -> None:
    ada, bob, eve = (pushed.follow(name, "microsoft") for name in ("ada", "bob", "eve"))
    assert pushed.microsoft(entry("nobody"), entry("ada"), entry("eve", clientState="guessed"), entry("bob")) == 200
    assert [pushed.is_asked(one) for one in (ada, bob, eve)] == [True, True, False]
    assert pushed.counted("microsoft", "genuine") == 2
    assert pushed.counted("microsoft", "wrong_token") == 1
    assert pushed.counted("microsoft", "unknown_channel") == 1


def test_an_entry_at_anothers_path_is_refused(pushed: Pushed) -> None:
    ada = pushed.follow("ada", "microsoft")
    pushed.follow("bob", "microsoft")
    assert pushed.microsoft(entry("ada"), path="/path-bob") == 200
    assert not pushed.is_asked(ada)
    assert pushed.counted("microsoft", "wrong_path") == 1


def test_a_notification_before_the_answer_to_our_request_is_known_by_its_path(pushed: Pushed) -> None:
    ada = pushed.follow("ada", "microsoft", remote_id=None, state="asked")
    assert pushed.microsoft(entry("ada"), path="/path-ada") == 200
    assert pushed.is_asked(ada)


def test_three_copies_ask_once(pushed: Pushed) -> None:
    """Graph says one update about three times."""
    ada = pushed.follow("ada", "microsoft")
    pushed.microsoft(entry("ada"), entry("ada"), entry("ada"))
    assert pushed.rows("SELECT requested_gen FROM calendar WHERE id = :id", id=ada)[0]["requested_gen"] == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b'{"value": [', b"\xff\xfe", b"[" * 5000],
)
def test_what_is_no_json_is_refused(pushed: Pushed, body: bytes) -> None:
    assert pushed.client.post(MICROSOFT, content=body).status_code == 400


@pytest.mark.parametrize("body", [{}, {"value": []}, [], {"value": "x"}, {"value": [1, None, {}]}, 7])
def test_a_batch_of_nothing_is_taken(pushed: Pushed, body: Any) -> None:
    assert pushed.client.post(MICROSOFT, json=body).status_code == 200


def test_a_body_over_64_kib_is_refused(pushed: Pushed) -> None:
    body = b'{"value": []}' + b" " * 64 * 1024
    assert pushed.client.post(MICROSOFT, content=body).status_code == 413


@pytest.mark.parametrize(
    ("event", "asked", "state", "wanted"),
    [
        ("missed", True, "live", False),
        ("subscriptionRemoved", True, "ended", True),
        ("reauthorizationRequired", False, "live", False),
    ],
)
def test_lifecycle_notifications(pushed: Pushed, event: str, asked: bool, state: str, wanted: bool) -> None:
    ada = pushed.follow("ada", "microsoft", next_at=pushed.clock() + timedelta(days=1))
    pushed.execute("UPDATE calendar SET channel_wanted = false")
    told = {"subscriptionId": "sub-ada", "clientState": "token-ada", "lifecycleEvent": event}
    assert pushed.microsoft(told, path="/path-ada") == 200
    [channel] = pushed.rows("SELECT * FROM notification_channel")
    assert (pushed.is_asked(ada), channel["state"]) == (asked, state)
    assert pushed.rows("SELECT channel_wanted FROM calendar")[0]["channel_wanted"] is wanted
    if event == "reauthorizationRequired":
        assert channel["next_at"] == pushed.clock()


def test_nothing_secret_is_kept_or_logged(pushed: Pushed, caplog: pytest.LogCaptureFixture) -> None:
    pushed.follow("ada")
    with caplog.at_level("DEBUG"):
        pushed.google("ada", path="/path-ada")
        pushed.google("ada", path="/path-ada", x_goog_channel_token="canary-token")
    ours = "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    assert "external_webhooks" in ours
    assert "path-ada" not in ours
    assert "canary-token" not in ours
    stored = str(pushed.rows("SELECT * FROM notification_channel"))
    assert "token-ada" not in stored
    assert "path-ada" not in stored
