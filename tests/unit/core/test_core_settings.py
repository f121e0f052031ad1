"""Settings: what `.env.example` promises is what the program does."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from calendar_pipeline.settings import UP_NOTE, Settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def example() -> dict[str, str]:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_example_lists_exactly_the_settings() -> None:
    assert list(example()) == [name.upper() for name in Settings.model_fields]


def test_the_example_sets_nothing_but_defaults() -> None:
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)


def test_the_example_states_every_default() -> None:
    plain = Settings(_env_file=None)
    empty = {name for name, value in example().items() if not value}
    assert empty == {name.upper() for name, value in plain if value in (None, "")}


def test_the_example_explains_each_setting_in_the_words_of_the_code() -> None:
    text = EXAMPLE.read_text()
    for name, field in Settings.model_fields.items():
        assert f"# {field.description}\n{name.upper()}=" in text


def test_the_environment_counts_before_the_file_and_the_file_before_what_up_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".calendar-pipeline").mkdir()
    (tmp_path / ".calendar-pipeline" / UP_NOTE).write_text("API_PORT=1\nDAGSTER_PORT=1\nSANDBOX_PORT=1\n")
    (tmp_path / ".env").write_text("API_PORT=2\nDAGSTER_PORT=2\n")
    monkeypatch.setenv("API_PORT", "3")
    loaded = Settings.load()
    assert (loaded.api_port, loaded.dagster_port, loaded.sandbox_port) == (3, 2, 1)


def test_secrets_are_not_shown() -> None:
    given = Settings(_env_file=None, database_url=SecretStr("postgresql://u:canary@h/d"))
    assert "canary" not in repr(given)
    assert "canary" not in str(given)


def test_extra_meeting_hosts_are_split_and_trimmed() -> None:
    given = Settings(_env_file=None, meeting_hosts=" meet.example.com, ,video.example.org ")
    assert given.extra_meeting_hosts == ("meet.example.com", "video.example.org")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("held_buffer_days", 1),
        ("sync_interval_minutes", 4),
        ("sync_threads", 0),
        ("api_port", 65536),
        ("environment", "staging"),
        ("sync_run_retention_days", 10**9),
    ],
)
def test_values_that_cannot_work_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(_env_file=None, **{name: value})
