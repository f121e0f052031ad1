"""The documentation names only what exists: files, commands, options, settings, paths."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from api import openapi
from calendar_pipeline.bots import rules
from calendar_pipeline.cli import app
from calendar_pipeline.settings import Settings
from calendar_pipeline.up import DAGSTER_ENVIRONMENT

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}

SETTINGS = {name.upper() for name in Settings.model_fields}
FOREIGN = {"POSTGRES_PASSWORD", "DAGSTER_HOME", "SANDBOX_URL", "SANDBOX_CALENDAR"}
GIVEN = {"ATTENDEE_KEY", "ATTENDEE_SECRET", "CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN"}
"""What readers bring along; the test that follows the guides does so too."""
CODES = {"SERVICE_DISABLED", "STEP_FAILURE"}
"""In capitals, and no variables: Google's reasons, Dagster's kinds of events."""
UNVERSIONED = {"/healthz", "/readyz", "/openapi.json", "/docs", "/metrics"}

every_page = pytest.mark.parametrize("page", TEXTS)


def code(text: str) -> Iterator[str]:
    """Every piece of code in a page: fenced lines, continued ones joined, and words in backticks."""
    for block in fences(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^ *```.*?^ *```", "", text))


def fences(text: str, language: str = "") -> list[str]:
    return re.findall(rf"(?ms)^ *```{language or '[a-z]*'}\n(.*?)^ *```", text)


def commands() -> list[tuple[str, list[str]]]:
    found = [
        (page, piece[at.end() :].strip())
        for page, text in TEXTS.items()
        for piece in code(text)
        for at in re.finditer(r"(?:^|\(| )calendar-pipeline(?= [a-z])", piece)
    ]
    return [(page, shlex.split(re.split(r" [|;&] |\s#|\)|…", rest)[0])) for page, rest in found]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.is_file(), link
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"(?m)^#+ (.+)$", target.read_text())}, link


@pytest.mark.parametrize(("page", "words"), commands())
def test_commands_exist(page: str, words: list[str]) -> None:
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        words = words[1:]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = {
        name: parameter
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }
    given = 0
    while words:
        word, *words = words
        if word.startswith("-"):
            assert word in options, f"{page}: {command.name} has no option {word}"
            if not options[word].is_flag:
                assert words, f"{page}: {word} wants a value"
                words = words[1:]
        else:
            given += 1
    assert not hasattr(command, "commands") or not given, f"{page}: {command.name} has no such command"
    assert given <= len(arguments), f"{page}: too many words for {command.name}"
    if given:  # a bare name of a command is a mention, not a call
        assert given >= sum(argument.required for argument in arguments)


@every_page
def test_variables_are_settings(page: str) -> None:
    known = SETTINGS | set(DAGSTER_ENVIRONMENT) | FOREIGN | GIVEN | CODES
    for piece in code(TEXTS[page]):
        for name in re.findall(r"(?<![\w.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)", piece):
            assert name in known, f"{name} in {piece!r}"


def test_the_checklist_names_dagsters_own_variables() -> None:
    """An installation without them is a hundred times slower, and nothing else says so."""
    for name, value in DAGSTER_ENVIRONMENT.items():
        assert f"| `{name}` | `{value}` |" in TEXTS["docs/operate.md"]


@every_page
def test_paths_are_in_the_api(page: str) -> None:
    document = openapi.document(Settings(_env_file=None), version="0", base="/api/v1")
    templates = {re.sub(r"\{\w+\}", "{}", path): operations for path, operations in document["paths"].items()}
    for piece in code(TEXTS[page]):
        for path in re.findall(r"(?:\$API|(?<![\w/])/api/v1)(/[^\s\"?`]*)", piece):
            template = "/api/v1" + re.sub(r"/(\$[A-Z]+|[a-z]+_\w{16}|\{\w+\})", "/{}", path)
            assert template in templates, piece
            method = re.search(r"-X ([A-Z]+)|^([A-Z]+) /", piece)
            if method:
                assert (method[1] or method[2]).lower() in templates[template], piece
            for parameter in re.findall(r"[?&](\w+)=", piece):
                known = {one["name"] for one in templates[template]["get"].get("parameters", [])}
                assert parameter in known, piece


def test_unversioned_paths_are_routes() -> None:
    from api.app import create_app

    routes = {route.path for route in create_app(Settings(_env_file=None)).routes}
    named = {path for text in TEXTS.values() for path in re.findall(r"`(/[a-z]+(?:\.json)?)`", text)}
    assert routes >= UNVERSIONED
    assert named - {"/api", "/calendars", "/bots"} == UNVERSIONED


def test_every_decision_is_numbered_once() -> None:
    names = [page.name for page in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]
    first, *others = names
    titles = {name: TEXTS[f"docs/decisions/{name}"].partition("\n")[0].partition(". ")[2] for name in others}
    listed = re.findall(r"(?m)^\| \[\d{4}\]\(([^)]+)\) \| (.+) \|$", TEXTS[f"docs/decisions/{first}"])
    assert listed == list(titles.items())


@pytest.mark.parametrize("extra", ["dependencies", "dev", "build", "kubernetes", "client"])
def test_every_dependency_has_its_reason(extra: str) -> None:
    import tomllib

    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    groups = project["optional-dependencies"] | told["dependency-groups"] | {"dependencies": project["dependencies"]}
    wanted = groups[extra]
    rows = re.findall(r"(?m)^\| ([a-z0-9, -]+) \|", TEXTS["docs/decisions/0002-dependencies.md"])
    explained = {name for row in rows for name in row.split(", ")}
    assert {re.split(r"[\[<>=]", one)[0] for one in wanted} <= explained


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@every_page
def test_requests_are_written_so_that_they_can_be_run(page: str) -> None:
    """A request in a block without a language would be run by no test."""
    for block in fences(TEXTS[page]):
        if f"```\n{block}" in TEXTS[page]:
            assert not re.search(r"(?m)^(GET|POST|PUT|PATCH|DELETE) /", block), block


def test_every_program_with_a_title_is_run_by_a_test_that_names_it() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    titles = {title for text in TEXTS.values() for title in re.findall(r'(?m)^ *```\w+ title="([^"]+)"$', text)}
    assert titles
    assert {title for title in titles if f'"{title}"' not in tests} == set()


def test_the_rules_that_are_shown_are_rules() -> None:
    [shown] = fences(TEXTS["docs/consume/bots.md"], "yaml")
    assert rules.parse(shown).of("cal_…") == "none"
