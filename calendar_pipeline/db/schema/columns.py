"""What all tables share: metadata with names for constraints, and columns that recur."""

from sqlalchemy import Column, DateTime, MetaData, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def at(name: str, *, nullable: bool = True, comment: str | None = None) -> Column[object]:
    """An instant."""
    return Column(name, DateTime(timezone=True), nullable=nullable, comment=comment)


def created() -> Column[object]:
    """When the row was made, by the database's clock unless the application says."""
    return Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
        comment="when the row was made",
    )
