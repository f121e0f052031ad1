"""Secrets: unreadable ones are loud and disconnect nobody; readable ones are shown to nobody."""

import logging
import traceback
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from calendar_pipeline.ingest import store
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.providers.port import Credentials, Meter
from calendar_pipeline.secrets.keyring import KeyRing, generate

SECRET, REFRESH, TITLE = "canary-client-secret", "1//canary-refresh-token", "Canary board meeting"


def test_fault_53_a_missing_key_is_loud_and_disconnects_nobody(bench: Any) -> None:
    bench.add()
    bench.sync()
    bench.asked()
    before = bench.row
    outcome = bench.sync(ingest=replace(bench.ingest, keyring=KeyRing.parse(generate("another"))))
    assert (outcome.status, outcome.code, outcome.is_failure) == ("unreadable", "credential_unreadable", True)
    assert bench.asked() == {}
    row = bench.row
    assert (row["state"], row["sync_token"]) == ("connected", before["sync_token"])
    assert row["next_sync_at"] == bench.clock() + timedelta(minutes=30)
    assert bench.runs()[-1]["outcome"] == "unreadable"
    assert bench.sync().status == "synced"


@pytest.mark.parametrize("column", ["refresh_token", "client_secret"])
def test_fault_53_a_credential_copied_from_another_calendar_is_unreadable(bench: Any, column: str) -> None:
    other = bench.follow()
    bench.execute(
        f"UPDATE calendar SET {column} = (SELECT {column} FROM calendar WHERE id = :other) WHERE id = :cal",
        other=other.id,
    )
    assert bench.sync().status == "unreadable"
    assert bench.row["state"] == "connected"
    assert bench.asked() == {}


def test_after_a_rotation_of_keys_everything_goes_on(bench: Any, keyring: KeyRing) -> None:
    bench.add()
    bench.sync()
    bench.clock.pass_by(hours=2)
    rotated = KeyRing({"new": b"n" * 32})
    rotated._ciphers |= keyring._ciphers
    assert bench.sync(ingest=replace(bench.ingest, keyring=rotated)).status == "synced"
    assert bench.row["access_token"][2:5] == b"new"


@pytest.fixture
def canary(bench: Any) -> Any:
    """A calendar whose every secret would sing."""
    bench.cal = bench.follow(client_id="canary", client_secret=SECRET, refresh_token=REFRESH)
    bench.add(TITLE, attendees=["guest@example.com"])
    return bench


def secrets(bench: Any) -> list[str]:
    return [SECRET, REFRESH, TITLE, *bench.world.state.access]


def silent(bench: Any, text: str) -> None:
    for secret in secrets(bench):
        assert secret not in text


FAULTS = [
    ("server_error", "token"),
    ("invalid_request", "token"),
    ("invalid_client", "token"),
    ("truncated", "token"),
    ("truncated", "events.list"),
    ("html_ok", "events.list"),
    ("auth_error", "events.list"),
    ("forbidden", "events.list"),
    ("no_tokens", "events.list"),
    ("reset", "events.list"),
]


def test_fault_54_neither_logs_nor_sync_records_hold_a_secret(canary: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for kind, endpoint in FAULTS:
        canary.clock.pass_by(hours=2)
        canary.world.add_fault(kind, endpoint=endpoint, times=2)
        canary.sync()
        canary.world.clear_faults()
        canary.world.retitle_event(
            canary.cal.at_google, next(iter(canary.world.calendar(canary.cal.at_google).events)), TITLE
        )
        canary.sync()
    canary.world.revoke(REFRESH)
    canary.clock.pass_by(hours=2)
    assert canary.sync().status == "disconnected"
    assert caplog.records
    silent(canary, caplog.text)
    silent(canary, repr([dict(row) for row in canary.runs()]))
    row = dict(canary.row)
    silent(canary, repr(row))


def test_fault_54_no_repr_shows_a_secret(canary: Any) -> None:
    canary.sync()
    with canary.db.single() as connection:
        [claimed] = store.claim(
            connection, [canary.cal.id], regardless=True, lease=uuid.uuid4(), length=timedelta(), now=canary.clock()
        )
    shown = [claimed, canary.ingest, canary.ingest.keyring, canary.ingest.providers, canary.db]
    silent(canary, repr(shown))
    assert repr(claimed.client_secret) not in repr(claimed)
    assert str(claimed.sync_token) not in repr(claimed)


def test_a_grant_and_credentials_do_not_show_themselves(canary: Any, google: Any) -> None:
    credentials = Credentials(client_id="canary", client_secret=SECRET, refresh_token=REFRESH)
    grant = google.authorize(credentials, now=canary.clock(), meter=Meter())
    silent(canary, repr([credentials, grant]))


def test_a_database_that_dies_during_the_sync_says_nothing_of_the_calendar(
    canary: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The error's text goes to the logs of whoever runs this."""
    caplog.set_level(logging.DEBUG)

    def die() -> None:
        canary.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    canary.sync()
    [event] = canary.live()
    canary.world.retitle_event(canary.cal.at_google, event, "Other")
    dying = canary.crashing("told", die, lease=timedelta())
    with pytest.raises(DBAPIError) as died:
        list(sync_many(dying, [canary.cal.id], threads=1, regardless=True))
    silent(canary, "".join(traceback.format_exception(died.value)))
    silent(canary, caplog.text)
    canary.db.engine.dispose()
    assert canary.sync().updated == 1
