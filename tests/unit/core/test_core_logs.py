"""Structured logs: ids on each line, and nothing that is secret or personal."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from calendar_pipeline import logs
from calendar_pipeline.settings import Settings

log = logging.getLogger("calendar_pipeline.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    root.handlers = []
    logs.configure(Settings(_env_file=None, log_format="json"), stream=stream)
    yield stream
    root.handlers, root.level = before, level


def last(stream: io.StringIO) -> dict[str, object]:
    return json.loads(stream.getvalue().splitlines()[-1])


def test_a_line_is_one_object_with_the_ids_of_what_it_is_about(lines: io.StringIO) -> None:
    with logs.about(run_id="run-1"), logs.about(calendar_id="cal_1"):
        log.warning("the sync failed: %s", "retry\nand more")
    told = last(lines)
    assert (told["level"], told["message"], told["run_id"], told["calendar_id"]) == (
        "warning",
        "the sync failed: retry\nand more",
        "run-1",
        "cal_1",
    )
    log.info("afterwards")
    assert "run_id" not in last(lines)


@pytest.mark.parametrize(
    "secret",
    [
        "ya29.a0AfH6SMBx-y_z",
        "1//0gLu-refresh_token",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.sig",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "cp_live_8MNxvKzKQtDlnua26LOffC8bjePjC9SE3i0BRY",
        "ada.lovelace+work@example.co.uk",
        "hunter2secret",
    ],
)
def test_what_looks_like_a_secret_or_an_address_is_struck_out(secret: str, lines: io.StringIO) -> None:
    bare = "" if secret == "hunter2secret" else secret  # nothing tells a password from a word where it stands alone
    log.error("asked https://user:%s@host/x?code=%s&a=1 with %s Bearer %s", secret, secret, bare, secret)
    assert secret not in lines.getvalue()
    assert "a=1" in lines.getvalue()


def test_of_an_error_its_kind_and_places_are_told_and_not_its_message(lines: io.StringIO) -> None:
    try:
        raise ValueError("Quarterly review with Mary")
    except ValueError:
        log.exception("a bug")
    told = last(lines)
    assert told["error"] == "ValueError"
    assert "Mary" not in lines.getvalue()
    assert "test_core_logs.py" in str(told["places"])


def test_left_alone_logs_stay_as_they_are() -> None:
    before = logging.getLogger().handlers[:]
    logs.configure(Settings(_env_file=None))
    assert logging.getLogger().handlers == before
