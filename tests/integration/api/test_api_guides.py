"""Programs in the guides that talk to the API, run against the API."""

import re
from pathlib import Path
from typing import Any

import pytest

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar

GUIDE = Path(__file__).parents[3] / "docs" / "consume" / "sync.md"


@pytest.mark.parametrize("size", [3, 230])
def test_changes_come_page_by_page_and_from_where_one_was(
    served: str, db: Any, keyring: Any, tenant: Any, events: Any, clock: Any, size: int
) -> None:
    names: dict[str, Any] = {}
    block = re.search(r'(?ms)^```python title="changes.py"\n(.*?)^```', GUIDE.read_text())
    assert block
    exec(block[1], names)
    changed = names["changed_events"]
    with db.begin() as conn:
        new = NewCalendar(platform="google", client_id="c", client_secret="s", refresh_token="r")
        calendar = calendars.create(conn, keyring, tenant.id, new, now=clock()).id
    written = events(tenant.id, calendar, [{"title": str(number)} for number in range(size)])
    found = list(changed(f"{served}/api/v1", tenant.key, calendar, None))
    assert {event["id"] for event in found} == set(written)
    clock.pass_by(minutes=5)
    [later] = events(tenant.id, calendar, [{"title": "later", "updated_at": clock()}])
    since = clock().isoformat().replace("+00:00", "Z")
    assert [event["id"] for event in changed(f"{served}/api/v1", tenant.key, calendar, since)] == [later]
