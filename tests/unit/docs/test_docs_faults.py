"""The page of faults and the tests that provoke them: each number has a test, and the page names where."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operate" / "faults.md").read_text()
NUMBERED = re.compile(r"(?m)^ *def test_(?:fault_)?(\d{1,2})_(?:and_(\d{1,2})_)?")
ROWS = {
    int(number): set(re.findall(r"`(test_\w+\.py)`", row)) for number, row in re.findall(r"(?m)^\| (\d+) (.*)$", PAGE)
}


def provoked() -> dict[int, set[str]]:
    """Modules by the numbers in their tests' names."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for module in (ROOT / "tests").rglob("test_*.py"):
        for numbers in NUMBERED.findall(module.read_text()):
            for number in filter(None, numbers):
                found[int(number)].add(module.name)
    return dict(found)


def test_every_fault_has_a_test_that_carries_its_number_and_the_page_names_all_of_them() -> None:
    assert list(ROWS) == list(range(1, 56))
    assert provoked() == ROWS
