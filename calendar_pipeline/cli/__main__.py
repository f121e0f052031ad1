"""``python -m calendar_pipeline.cli``."""

from calendar_pipeline.cli import main

main()
