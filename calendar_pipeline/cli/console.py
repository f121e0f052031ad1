"""Where the commands write."""

import sys

from rich.console import Console

out = Console(width=None if sys.stdout.isatty() else 160)  # a file or pipe has no width to fit
err = Console(stderr=True)
