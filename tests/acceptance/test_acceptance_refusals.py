"""What a user is told who does something that cannot work: one line that says what to do, and exit code 2."""

import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest
import sqlalchemy as sa

from calendar_pipeline.secrets.keyring import generate

Stranger = Callable[..., CompletedProcess[str]]


def refusal(ended: CompletedProcess[str]) -> str:
    """The one line on stderr."""
    assert ended.returncode == 2, ended
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("option", "what"),
    [("--api-port", "the API"), ("--dagster-port", "the Dagster UI"), ("--sandbox-port", "the sandbox")],
)
def test_a_taken_port_is_named_with_the_way_out(stranger: Stranger, tmp_path: Path, option: str, what: str) -> None:
    """Nothing has been started or written by then."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        others = [word for name in ("--api-port", "--dagster-port", "--sandbox-port") for word in (name, "0")]
        line = refusal(stranger(["up", *others, option, port], STATE_DIR=str(tmp_path / "state")))
    assert f"Port {port} on 127.0.0.1, wanted for {what}," in line
    assert f"Choose another with {option}" in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_calendar_is_refused(stranger: Stranger, database_url: str, tmp_path: Path) -> None:
    ended = stranger(["sync", "cal_0123456789abcdef"], DATABASE_URL=database_url, STATE_DIR=str(tmp_path))
    assert "There is no calendar cal_0123456789abcdef" in refusal(ended)


@pytest.mark.parametrize(
    "arguments",
    [
        ["webhooks", "create", "proj_*", "https://1.1.1.1/hook"],
        ["export", "--project", "proj_*", "--table", "meeting", "--to", "exports"],
    ],
    ids=lambda words: words[0],
)
def test_an_unknown_project_is_refused(
    stranger: Stranger, database_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    """An export of none would find no rows, and so remove what a former one wrote."""
    ended = stranger(arguments, DATABASE_URL=database_url, STATE_DIR=str(tmp_path))
    assert "There is no project proj_*: 'calendar-pipeline project list' shows" in refusal(ended)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://postgres:canary@127.0.0.1:9/none", "cannot be used (connection failed:"),
        ("postgresql://postgres:canary@127.0.0.1:port/none", "are written postgresql://user:password@host:5432/name"),
    ],
    ids=["nobody answers", "no port"],
)
def test_a_database_that_cannot_be_used_is_told_of_and_its_password_is_not(
    stranger: Stranger, tmp_path: Path, url: str, told: str
) -> None:
    line = refusal(stranger(["project", "list"], DATABASE_URL=url, STATE_DIR=str(tmp_path)))
    assert told in line
    assert "canary" not in line


def test_settings_that_will_not_do_are_named(stranger: Stranger) -> None:
    line = refusal(stranger(["project", "list"], API_PORT="many", SYNC_THREADS="0", PUBLIC_BASE_URL="http://x.example"))
    for name in ("API_PORT: ", "SYNC_THREADS: ", "PUBLIC_BASE_URL: PUBLIC_BASE_URL must be an https address"):
        assert name in line


@pytest.mark.parametrize("arguments", [["migrate"], ["sync", "--all"]], ids=" ".join)
def test_a_state_directory_that_cannot_be_used_is_named(
    stranger: Stranger, database_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    state = tmp_path / "file" / "state"
    given = {"DATABASE_URL": database_url} if arguments[0] == "sync" else {}
    assert str(state) in refusal(stranger(arguments, STATE_DIR=str(state), **given))


@pytest.mark.parametrize("arguments", [["sync", "--all"], ["project", "create", "acme"]], ids=" ".join)
@pytest.mark.parametrize("ring", ["junk", "k1:c2hvcnQ=", "k1:"], ids=["no pair", "short", "empty"])
def test_a_bad_key_ring_is_refused_and_not_shown(
    stranger: Stranger, database_url: str, tmp_path: Path, arguments: list[str], ring: str
) -> None:
    line = refusal(stranger(arguments, DATABASE_URL=database_url, STATE_DIR=str(tmp_path), CALENDAR_PIPELINE_KEYS=ring))
    assert "CALENDAR_PIPELINE_KEYS must read kid:base64" in line
    assert ring not in line.replace("kid:base64", "")


@pytest.mark.parametrize("arguments", [["up"], ["migrate"], ["sync", "--all"]], ids=" ".join)
def test_production_wants_a_database_of_its_own(stranger: Stranger, tmp_path: Path, arguments: list[str]) -> None:
    ports = dict.fromkeys(("API_PORT", "DAGSTER_PORT", "SANDBOX_PORT"), "0")
    settings = {"ENVIRONMENT": "production", "STATE_DIR": str(tmp_path), "CALENDAR_PIPELINE_KEYS": generate("k")}
    assert "DATABASE_URL is not set" in refusal(stranger(arguments, **settings, **ports))
    assert not (tmp_path / "postgres").exists()


def test_production_makes_no_key_of_its_own(stranger: Stranger, database_url: str, tmp_path: Path) -> None:
    ended = stranger(["sync", "--all"], ENVIRONMENT="production", DATABASE_URL=database_url, STATE_DIR=str(tmp_path))
    assert "CALENDAR_PIPELINE_KEYS is not set" in refusal(ended)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["sync", "--all"], ["migrate"], ["project", "create", "acme"]], ids=" ".join)
def test_a_newer_schema_is_left_alone(
    stranger: Stranger, database_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    plain = sa.make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        line = refusal(stranger(arguments, DATABASE_URL=database_url, STATE_DIR=str(tmp_path)))
        assert "(revision 9999) is newer than this program: upgrade the program" in line
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
        assert connection.execute("SELECT count(*) FROM project").fetchall() == [(0,)]


def test_a_broken_installation_is_examined_as_far_as_it_goes(stranger: Stranger, tmp_path: Path) -> None:
    nowhere = f"postgresql://postgres@/none?host={tmp_path}"
    providers = ("GOOGLE_API_BASE_URL", "MICROSOFT_GRAPH_BASE_URL", "MICROSOFT_LOGIN_BASE_URL")
    given = dict.fromkeys(providers, "http://127.0.0.1:9") | {"DATABASE_URL": nowhere, "STATE_DIR": str(tmp_path)}
    ended = stranger(["doctor", "--json"], CALENDAR_PIPELINE_KEYS="junk", **given)
    assert (ended.returncode, ended.stderr) == (2, "")
    assert ended.stdout.count('"broken"') == 2
