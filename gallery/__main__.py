"""Make the pictures of the documentation: ``python -m gallery docs/images/gallery``."""

import argparse
from pathlib import Path

from bench.fleet import database
from calendar_pipeline.bots.runners.fake import FakeRunner
from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing, generate
from gallery import make, weeks
from gallery.company import company


def main() -> None:
    """Write the weeks, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    with database() as url, Database(url, connections=4) as db:
        with company(db, KeyRing.parse(generate("gallery")), begins=weeks.BEGINS, runner=FakeRunner()) as ours:
            weeks.write(ours)
        pictures = make.pictures(db)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
