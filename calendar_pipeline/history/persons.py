"""Persons whose content was erased and of whom providers go on telling: what a sync must know not to keep it again.

Of the address a digest is enough, since an address is found in a text as one. A name is not, so names are kept: sealed,
bound to the erasure's row, and opened by nobody but the sync that takes them out.
"""

import json
from collections.abc import Mapping, Sequence

from calendar_pipeline.history.redact import Person
from calendar_pipeline.secrets.keyring import KeyRing, Place


def seal(ring: KeyRing, names: Sequence[str], *, erasure: str, project: str) -> bytes | None:
    """What `erasure.names` holds; None if there are none."""
    given = [name for name in names if name.strip()]
    return ring.seal(json.dumps(given), _place(erasure, project)) if given else None


def open_(ring: KeyRing, rows: Sequence[Mapping[str, str | None]], *, project: str) -> Sequence[Person]:
    """Persons from rows of `erasure` (`id`, `digest`, `names`, bytes in hex), in the order in which they were erased.

    Raises CredentialUnreadable: without the names nothing that is told can be kept.
    """
    persons: list[Person] = []
    for row in rows:
        erasure, digest, sealed = row["id"], row["digest"], row["names"]
        assert erasure is not None
        assert digest is not None
        names = json.loads(ring.open(bytes.fromhex(sealed), _place(erasure, project))) if sealed is not None else []
        persons.append(Person(erasure=erasure, digest=digest, names=names))
    return persons


def _place(erasure: str, project: str) -> Place:
    return Place(table="erasure", column="names", row=erasure, project=project)
