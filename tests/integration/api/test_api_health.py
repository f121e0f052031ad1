"""Probes: alive, and able to serve."""

from collections.abc import Iterator

import pytest
from litestar.testing import TestClient

from api.app import create_app
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.secrets.keyring import generate
from calendar_pipeline.settings import Settings


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path, database_url=database_url)


@pytest.fixture
def probe(settings, db) -> Iterator[TestClient]:
    """A client of an app that loads its own key ring."""
    with TestClient(create_app(settings, db=db)) as client:
        yield client


def test_ready(probe) -> None:
    assert (probe.get("/readyz").status_code, probe.get("/readyz").json()) == (200, {"status": "ready"})
    assert probe.get("/healthz").json() == {"status": "ok"}


def test_ready_with_a_key_ring_handed_in(anonymous) -> None:
    assert anonymous.get("http://testserver.local/readyz").status_code == 200


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        pytest.param("DROP TABLE alembic_version", "run 'calendar-pipeline migrate'", id="no schema"),
        pytest.param("UPDATE alembic_version SET version_num = '9999'", "upgrade the program", id="newer schema"),
    ],
)
def test_not_ready_on_another_schema(probe, db: Database, break_it, told) -> None:
    with db.begin() as conn:
        conn.exec_driver_sql(break_it)
    answer = probe.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert told in answer.json()["reasons"][0]
    assert probe.get("/healthz").status_code == 200


def test_not_ready_without_the_database(settings, database_url, keyring) -> None:
    address = database_url.replace("?host=", "?host=/nowhere")
    with Database(address) as lost, TestClient(create_app(settings, db=lost, keyring=keyring)) as probe:
        answer = probe.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == [
            "The database cannot be reached: see that PostgreSQL runs and that DATABASE_URL names it."
        ]
        assert probe.get("/healthz").status_code == 200
        calls = probe.get("/api/v1/calendars", headers={"Authorization": "Token some-key"})
        assert (calls.status_code, calls.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("nonsense", "CALENDAR_PIPELINE_KEYS must read"),
        (generate("other", random_bytes=bytes), "'dev1' is in use here but not set any more"),
    ],
)
def test_not_ready_when_the_keys_are_gone(probe, settings, content, told) -> None:
    keyfile.file(settings).write_text(content)
    answer = probe.get("/readyz")
    assert answer.status_code == 503
    assert told in answer.json()["reasons"][0]


def test_not_ready_when_the_keys_cannot_be_read(probe, settings) -> None:
    keyfile.file(settings).unlink()
    keyfile.file(settings).mkdir()
    assert "cannot be read" in probe.get("/readyz").json()["reasons"][0]


def test_the_settings_database_is_opened_on_start(settings) -> None:
    with TestClient(create_app(settings)) as probe:
        assert probe.get("/readyz").status_code == 200


def test_another_schema_stops_the_start(settings, db: Database, caplog) -> None:
    with db.begin() as conn:
        conn.exec_driver_sql("DROP TABLE alembic_version")
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match="calendar-pipeline migrate")):
        TestClient(create_app(settings)).__enter__()
    assert "The API does not start: The database's schema is older" in caplog.text


def test_production_does_not_start_without_keys(database_url) -> None:
    settings = Settings(_env_file=None, environment="production", database_url=database_url)
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match="CALENDAR_PIPELINE_KEYS")):
        TestClient(create_app(settings)).__enter__()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_probes_are_read_only(probe, path) -> None:
    assert (probe.head(path).status_code, probe.head(path).content) == (200, b"")
    refused = probe.post(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert probe.options(path).headers["allow"] == "GET, HEAD, OPTIONS"
