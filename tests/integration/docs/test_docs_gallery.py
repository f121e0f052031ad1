"""The gallery's pictures are what its queries give over weeks that real syncs write, to the byte."""

from collections.abc import Callable
from pathlib import Path

from calendar_pipeline.bots.runners.fake import FakeRunner
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof
from calendar_pipeline.secrets.keyring import KeyRing
from gallery import make, weeks
from gallery.company import company

FOLDER = Path(__file__).parents[3] / "docs/images/gallery"


def test_the_pictures_are_current_and_the_page_shows_each(new_database: Callable[[], str], keyring: KeyRing) -> None:
    with Database(new_database()) as db:
        with company(db, keyring, begins=weeks.BEGINS, runner=FakeRunner()) as ours:
            weeks.write(ours)
        with db.single() as connection:
            assert proof.replay_differences(connection) == []
        drawn = make.pictures(db)
    kept = {file.name: file.read_bytes() for file in FOLDER.iterdir()}
    assert drawn.keys() == kept.keys()
    assert [name for name in drawn if drawn[name] != kept[name]] == [], "run: make gallery"
    assert all(f"/gallery/{name}" in make.PAGE.read_text() for name in drawn)
