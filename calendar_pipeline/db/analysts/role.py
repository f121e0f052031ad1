"""A role that reads what analysts need, and nothing that opens anything: no key, no credential, no secret."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.analysts import FUNCTIONS, VIEWS
from calendar_pipeline.errors import SetupError

READABLE = ("event_history", "calendar_event", "sync_run", "quarantined_event", "calendar_status", "project",
            "project_counter")  # fmt: skip
"""Tables without anything secret, granted whole."""

CALENDAR_COLUMNS = (
    "id", "project_id", "platform", "deduplication_key", "state", "reason", "reason_code", "reason_since",
    "time_zone", "created_at", "last_successful_sync_at", "last_attempted_sync_at", "next_sync_at", "quarantined",
)  # fmt: skip
"""Of the table `calendar`, which also holds sealed credentials."""

_EXISTS = sa.text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = :role")


def make(connection: Connection, role: str, *, timeout_seconds: int = 300) -> bool:
    """Create `role` if it does not exist, and give it just what analysts read. Returns whether it was created.

    Its sessions are read-only and its statements end after `timeout_seconds`. It has no password: the operator gives
    it one, or makes it a group and puts people into it. Raises SetupError for a role that may do more already.
    """
    if not role.isidentifier():
        raise SetupError("Name the role with letters, digits and underscores.")
    found = connection.execute(_EXISTS, {"role": role}).one_or_none()
    if found is not None and found[0]:
        raise SetupError(f"The role {role} is a superuser's or may see everything: name another, or a new one.")
    if found is None:
        connection.exec_driver_sql(f'CREATE ROLE "{role}" LOGIN')
        connection.exec_driver_sql(f'ALTER ROLE "{role}" SET default_transaction_read_only = on')
        connection.exec_driver_sql(f"ALTER ROLE \"{role}\" SET statement_timeout = '{timeout_seconds}s'")
    database = connection.engine.dialect.identifier_preparer.quote(
        str(connection.execute(sa.text("SELECT current_database()")).scalar_one())
    )
    connection.exec_driver_sql(f'GRANT CONNECT ON DATABASE {database} TO "{role}"')
    readable = ", ".join((*READABLE, *(view.name for view in VIEWS)))
    connection.exec_driver_sql(f'GRANT SELECT ON {readable} TO "{role}"')
    connection.exec_driver_sql(f'GRANT SELECT ({", ".join(CALENDAR_COLUMNS)}) ON calendar TO "{role}"')
    functions = ", ".join(function.signature for function in FUNCTIONS)
    connection.exec_driver_sql(f'GRANT EXECUTE ON FUNCTION {functions} TO "{role}"')
    return found is None
