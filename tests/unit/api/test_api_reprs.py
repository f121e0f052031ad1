"""Nothing secret is shown by what the API passes about."""

from calendar_pipeline.calendars.model import CalendarPatch, NewCalendar


def test_credentials_are_in_no_repr() -> None:
    new = NewCalendar(platform="google", client_id="c", client_secret="hush", refresh_token="hush")
    assert "hush" not in repr(new)
    assert "hush" not in repr(CalendarPatch(client_secret="hush", refresh_token="hush"))
