"""What a view or function for analysts is made of."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view: its query gives exactly the explained columns, in their order."""

    name: str
    comment: str
    columns: Mapping[str, str]
    """What each column means; as with tables it becomes the column's comment in the database."""
    query: str

    @property
    def create(self) -> str:
        """The statement that makes it."""
        return f"CREATE OR REPLACE VIEW {self.name} ({', '.join(self.columns)}) AS {self.query}"

    @property
    def drop(self) -> str:
        """The statement that removes it; it fails if somebody's own view stands on it."""
        return f"DROP VIEW IF EXISTS {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """A function of one instant that gives rows of a table."""

    name: str
    comment: str
    returns: str
    query: str
    """Its parameter is ``instant``."""

    @property
    def signature(self) -> str:
        """Name and types, as DROP, COMMENT and GRANT want it."""
        return f"{self.name}(timestamptz)"

    @property
    def create(self) -> str:
        """The statement that makes it.

        STABLE and a single SELECT, so that the planner puts the query in its place and filters go down into it.
        """
        return (
            f"CREATE OR REPLACE FUNCTION {self.name}(instant timestamptz) RETURNS SETOF {self.returns} "
            f"LANGUAGE sql STABLE PARALLEL SAFE ROWS 10000 AS $as_of${self.query}$as_of$"
        )

    @property
    def drop(self) -> str:
        """The statement that removes it."""
        return f"DROP FUNCTION IF EXISTS {self.signature}"
