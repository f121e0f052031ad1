"""What goes wrong outside the program, in one line that says what to do: settings, disk, database."""

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from calendar_pipeline.db import connect
from calendar_pipeline.errors import CalendarPipelineError

NO_RIGHT = "42501"
"""SQLSTATE of what the database's user may not do."""

KINDS = (CalendarPipelineError, ValidationError, OSError, DBAPIError)


def said(error: Exception) -> str | None:
    """The line; None for what should not happen, which keeps its traceback."""
    match error:
        case CalendarPipelineError():
            return str(error)
        case ValidationError():
            return "; ".join(_setting(one["loc"], one["msg"]) for one in error.errors(include_input=False))
        case OSError():
            return f"{error.strerror or type(error).__name__}" + (f": {error.filename}" if error.filename else "")
        case DBAPIError():
            return _of_database(error, getattr(error.orig, "sqlstate", None))
        case _:
            return None


def _setting(where: tuple[int | str, ...], told: str) -> str:
    return f"{'.'.join(map(str, where)).upper()}: {told.removeprefix('Value error, ')}"


def _of_database(error: DBAPIError, state: str | None) -> str | None:
    told = connect.said(error)
    if state == NO_RIGHT:
        return f"The database refuses: {told}. Give the user of DATABASE_URL that right."
    if not isinstance(error, connect.AWAY):
        return None
    if state is None:  # no answer, or none to who we say we are
        return f"The database cannot be used ({told}): see that PostgreSQL runs and that DATABASE_URL names it."
    return f"The database gave up ({told}): try again; if it stays so, its log says why."
