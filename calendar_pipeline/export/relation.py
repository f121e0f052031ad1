"""What can be exported, and how it is cut into files. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from calendar_pipeline.errors import SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or view; each of its months (UTC) is a file for each project."""

    name: str
    by: str
    """The column whose month a row belongs to."""
    order: str
    mark: str
    """An aggregate that is another one whenever a month's rows are not what they were, erasures apart."""


_ANY_CHANGE = "sum(hashtextextended(t::text, 0)::numeric)"

RELATIONS: Mapping[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation(name="event_history", by="recorded_at", order="seq", mark="max(seq)"),
        Relation(name="event_version", by="recorded_at", order="seq", mark="max(seq) || '/' || count(valid_to)"),
        Relation(name="calendar_event", by="starts_at", order="id", mark="sum(version) || '/' || max(updated_at)"),
        Relation(name="meeting", by="starts_at", order="starts_at, ical_uid", mark=_ANY_CHANGE),
        Relation(
            name="calendar_day",
            by="day",
            order="day, calendar_id",
            mark="md5(string_agg(t::text, '' ORDER BY t))",
        ),
        Relation(name="sync_run", by="started_at", order="id", mark="max(id)"),
        Relation(name="sync_quality", by="day", order="day, calendar_id", mark=_ANY_CHANGE),
        Relation(name="bot_outcome", by="recorded_at", order="event_id, version, bot_id", mark=_ANY_CHANGE),
        Relation(name="webhook_quality", by="day", order="day, subscription_id", mark=_ANY_CHANGE),
    )
}


def relation(name: str) -> Relation:
    """The relation of that name; raises SetupError with those that there are."""
    if (found := RELATIONS.get(name)) is None:
        raise SetupError(f"{name} cannot be exported; choose from {', '.join(RELATIONS)}.")
    return found


def path(root: str, relation: Relation, project: str, month: str) -> str:
    """Where a month's file stands: a layout that Parquet readers take columns from (``project=…/month=…``)."""
    return f"{root.rstrip('/')}/{relation.name}/project={project}/month={month}/part.parquet"
