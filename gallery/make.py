"""From a database to pictures: each query of the guide's gallery, drawn in each look, by file name."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from gallery.look import LOOKS, Look, picture
from gallery.plots import PLOTS, Rows

PAGE = Path(__file__).parents[1] / "docs/analyse/gallery.md"


def queries() -> Mapping[str, str]:
    """The guide's queries, by the names of the pictures above them."""
    found = re.findall(r"(?ms)/gallery/(\w+)-light\.svg.*?^```sql\n(.*?)^```", PAGE.read_text())
    return dict(found)


def pictures(db: Database) -> Mapping[str, bytes]:
    """All files of the gallery."""
    made: dict[str, bytes] = {}
    for name, query in queries().items():
        with db.single() as connection:
            rows = connection.execute(sa.text(query.replace(":", r"\:"))).mappings().all()
        for look in LOOKS:
            made[f"{name}-{look.name}.svg"] = picture(partial(_draw, name, rows), look)
    return made


def _draw(name: str, rows: Rows, axes: object, look: Look) -> None:
    PLOTS[name](axes, rows, look)
