"""Where the key ring comes from: settings; in development a file made once; in production never made."""

import multiprocessing
import stat
from pathlib import Path

import pytest

from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.secrets.keyring import Place, generate
from calendar_pipeline.settings import Settings

HERE = Place(table="t", column="c", row="r", project="p")


def settings(state_dir: Path, **given: object) -> Settings:
    return Settings(_env_file=None, state_dir=state_dir, **given)


def test_development_makes_one_private_file_and_keeps_it(tmp_path: Path) -> None:
    mine = settings(tmp_path / "state")
    sealed = keyfile.load(mine).seal("secret", HERE)
    file = keyfile.file(mine)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keyfile.load(mine).open(sealed, HERE) == "secret"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_set_ring_counts_and_no_file_is_made(tmp_path: Path) -> None:
    mine = settings(tmp_path / "state", calendar_pipeline_keys=generate("given"), environment="production")
    assert keyfile.load(mine).active == "given"
    assert not mine.state_dir.exists()


def test_production_refuses_to_make_a_key(tmp_path: Path) -> None:
    mine = settings(tmp_path / "state", environment="production")
    with pytest.raises(SetupError, match="'calendar-pipeline keys generate'"):
        keyfile.load(mine)
    assert not mine.state_dir.exists()


def test_production_does_not_take_a_development_key(tmp_path: Path) -> None:
    keyfile.load(settings(tmp_path))
    with pytest.raises(SetupError, match="CALENDAR_PIPELINE_KEYS is not set"):
        keyfile.load(settings(tmp_path, environment="production"))


def test_a_draft_left_by_a_killed_process_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container every start has the same process id."""
    mine = settings(tmp_path)
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "keys.7").write_text("half a k")
    keyfile.load(mine)


def _seal(
    state_dir: Path, start: "multiprocessing.synchronize.Barrier", sealed: "multiprocessing.Queue[bytes]"
) -> None:
    start.wait(10)
    sealed.put(keyfile.load(settings(state_dir)).seal("secret", HERE))


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start, sealed = fork.Barrier(4), fork.Queue()
    processes = [fork.Process(target=_seal, args=(tmp_path / "state", start, sealed)) for _ in range(4)]
    for process in processes:
        process.start()
    values = [sealed.get(timeout=10) for _ in processes]
    for process in processes:
        process.join(10)
    ring = keyfile.load(settings(tmp_path / "state"))
    assert [ring.open(value, HERE) for value in values] == ["secret"] * 4
