"""How a command starts."""

import subprocess
import sys

STARTED = """
import sys
from calendar_pipeline import cli
sys.argv = ["calendar-pipeline", "--help"]
try:
    cli.main()
except SystemExit:
    print(sorted({"dagster", "litestar", "sqlalchemy"} & sys.modules.keys()), file=sys.stderr)
"""


def test_a_command_loads_no_library_before_it_needs_one() -> None:
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"
