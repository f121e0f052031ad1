"""The runbook has a row for each check that can turn red."""

import re
from pathlib import Path

from calendar_pipeline.definitions import defs as load

RUNBOOK = Path(__file__).parents[2] / "docs" / "operate" / "runbook.md"


def test_every_asset_check_has_its_row() -> None:
    """One each, with what it means and what to do."""
    [section] = re.findall(r"(?ms)^## Red and yellow checks\n(.*?)(?=^## |\Z)", RUNBOOK.read_text())
    told = re.findall(r"(?m)^\| `([^`]+)` \| .{20,} \| .{20,} \|$", section)
    assert len(told) == len(set(told)) == len(re.findall(r"(?m)^\| `", section))
    checks = {key.name for key in load().get_repository_def().asset_graph.asset_check_keys}
    assert checks == set(told)
