"""What people do, in a real browser: connect, refuse, choose, schedule, follow, lose access, come back."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

Shot = Callable[[Page, str], None]
Stack = Any
"""See conftest."""
HOUR = timedelta(hours=1)
MEET = "https://meet.google.com/abc-defg-hij"


def sign_in(page: Page, stack: Stack, email: str = "ada@example.com") -> None:
    page.goto(stack.notetaker_url)
    page.get_by_label("Your e-mail address").fill(email)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Connect your calendar")).to_be_visible()


def consent(page: Page, provider: str, account: str) -> None:
    """From Notetaker to the provider's question."""
    page.get_by_role("button", name=f"Connect {provider}").click()
    page.get_by_role("button", name=account).click()
    expect(page.get_by_role("heading", name="notetaker asks for access")).to_be_visible()


def connect(page: Page, provider: str = "Google", account: str = "ada@example.com", pick: str | None = None) -> None:
    consent(page, provider, account)
    page.get_by_role("button", name="Allow").click()
    if pick is not None:
        page.get_by_role("radio", name=re.compile(pick)).check()
    page.get_by_role("button", name="Follow this calendar").click()
    expect(page.get_by_text("Your calendar is connected.")).to_be_visible()


def switch(page: Page, title: str) -> Locator:
    return page.get_by_role("switch", name=f"Send a bot to {title}")


def event_of(stack: Stack, title: str) -> tuple[str, str]:
    for calendar in stack.sandbox.calendars():
        for event in stack.sandbox.events(calendar["id"]):
            if title in (event.get("summary"), event.get("subject")):
                return calendar["id"], event["id"]
    raise AssertionError(title)


def test_connect_google_and_see_the_meetings(page: Page, stack: Stack, shot: Shot) -> None:
    page.goto(stack.notetaker_url)
    shot(page, "notetaker-welcome")
    sign_in(page, stack)
    shot(page, "notetaker-connect")
    page.get_by_role("button", name="Connect Google").click()
    shot(page, "google-account")
    page.get_by_role("button", name="ada@example.com").click()
    shot(page, "google-consent")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Which calendar shall Notetaker follow?")).to_be_visible()
    expect(page.get_by_text("The calendar is connected to ada@example.com at Notetaker")).to_be_visible()
    shot(page, "connect-pick")
    page.get_by_role("button", name="Follow this calendar").click()
    expect(page.get_by_text("Planning")).to_be_visible()
    expect(page.get_by_text("Interview with Mary")).to_be_visible()
    expect(page.get_by_text("Team retrospective")).not_to_be_visible()
    shot(page, "notetaker-meetings")


def test_connect_microsoft_and_see_the_meetings(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack, "grace@contoso.example")
    page.get_by_role("button", name="Connect Microsoft").click()
    shot(page, "microsoft-account")
    page.get_by_role("button", name="grace@contoso.example").click()
    shot(page, "microsoft-consent")
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Follow this calendar").click()
    expect(page.get_by_text("Compiler review")).to_be_visible()


def test_deny_and_be_told_what_to_do(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack)
    consent(page, "Google", "ada@example.com")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="You did not allow it")).to_be_visible()
    shot(page, "connect-denied")
    page.get_by_role("link", name="Back to Notetaker").click()
    expect(page.get_by_text("You did not allow access, so nothing was connected.")).to_be_visible()


def test_deny_then_try_again(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    consent(page, "Google", "ada@example.com")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("link", name="Try again").click()
    page.get_by_role("button", name="ada@example.com").click()
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Follow this calendar").click()
    expect(page.get_by_text("Your calendar is connected.")).to_be_visible()


@pytest.mark.parametrize(
    ("provider", "account", "picture"),
    [
        ("Google", "ada@example.com", "connect-unticked-google"),
        ("Microsoft", "grace@contoso.example", "connect-unticked-microsoft"),
    ],
)
def test_untick_the_calendar_and_be_told_what_to_do(
    page: Page, stack: Stack, shot: Shot, provider: str, account: str, picture: str
) -> None:
    sign_in(page, stack)
    consent(page, provider, account)
    page.get_by_role("checkbox", name=re.compile("calendar", re.IGNORECASE)).uncheck()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="The calendar box was not ticked")).to_be_visible()
    shot(page, picture)


def test_a_state_used_again_connects_nothing(page: Page, stack: Stack, shot: Shot) -> None:
    callbacks: list[str] = []
    page.on("request", lambda request: callbacks.append(request.url) if "/callback?" in request.url else None)
    sign_in(page, stack)
    connect(page)
    page.goto(callbacks[0])
    expect(page.get_by_role("heading", name="This link was used already, or is too old")).to_be_visible()
    shot(page, "connect-used")
    page.goto(stack.notetaker_url)
    expect(page.get_by_role("listitem").filter(has_text="Google")).to_have_count(1)


def test_an_evil_return_url_leads_nowhere(page: Page, stack: Stack) -> None:
    """The API makes no link to one, and a browser cannot change where a link leads back to."""

    def ask(return_url: str) -> httpx.Response:
        return httpx.post(
            f"{stack.api_url}/api/v1/connect_links",
            json={"platform": "google", "return_url": return_url},
            headers={"Authorization": f"Token {stack.key}"},
        )

    refused = ask("https://evil.example/")
    assert (refused.status_code, list(refused.json())) == (400, ["return_url"])
    sign_in(page, stack)
    url = ask(f"{stack.notetaker_url}/connected").json()["url"]
    page.goto(f"{url}&return_url=https://evil.example/")
    page.get_by_role("button", name="ada@example.com").click()
    page.get_by_role("button", name="Allow").click()
    page.get_by_role("button", name="Follow this calendar").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(stack.notetaker_url)}/"))
    expect(page.get_by_text("begun by someone else or in another session")).to_be_visible()


def test_a_redirect_that_is_not_registered_ends_at_the_provider(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack)
    for provider, button in (("google", "Connect Google"), ("microsoft", "Connect Microsoft")):
        page.goto(stack.notetaker_url)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("heading", name="Choose an account")).to_be_visible()
        page.goto(page.url.replace("callback", "elsewhere"))
        shot(page, f"{provider}-blocked")


def test_an_address_without_a_page_says_so(page: Page, stack: Stack, shot: Shot) -> None:
    page.goto(f"{stack.api_url}/connect/apple")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    shot(page, "connect-no-page")
    page.goto(f"{stack.notetaker_url}/nothing")
    expect(page.get_by_text("There is nothing here")).to_be_visible()
    page.goto(f"{stack.notetaker_url}/updates")
    expect(page.get_by_label("Your e-mail address")).to_be_visible()


def test_while_the_api_is_down_the_page_says_so_and_changes_nothing(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack)
    connect(page)
    expect(switch(page, "Planning")).not_to_be_checked()
    stack.stop_api()
    switch(page, "Planning").click()
    expect(page.get_by_text("The calendar service did not do it.")).to_be_visible()
    expect(switch(page, "Planning")).not_to_be_checked()
    expect(switch(page, "Planning")).to_be_focused()
    shot(page, "notetaker-service-down")
    page.get_by_role("button", name="Connect Microsoft").click()
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    shot(page, "notetaker-trouble")
    page.get_by_role("link", name="Back to your meetings").click()
    expect(page.get_by_text("Planning")).to_be_visible()


def test_pick_a_second_calendar(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    connect(page)
    connect(page, pick="Team")
    expect(page.get_by_text("Team retrospective")).to_be_visible()
    expect(page.get_by_text("Planning")).to_be_visible()


def test_unschedule_a_bot_with_the_keyboard_alone(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    connect(page)
    expect(page.get_by_role("switch").first).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "switch":
            break
    for wanted in (True, False):
        page.keyboard.press("Space")
        expect(page.get_by_role("switch").first).to_be_checked(checked=wanted)
        expect(page.get_by_role("switch").first).to_be_focused()


def test_a_switch_pressed_twice_sends_one_bot_and_complains_of_nothing(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    connect(page)
    said: list[str] = []
    page.on("response", lambda answer: said.append(answer.url) if "said=" in answer.url else None)
    switch(page, "Planning").dblclick()
    expect(page.get_by_text("Bot scheduled")).to_be_visible()
    expect(switch(page, "Planning")).to_be_checked()
    switch(page, "Planning").click()
    expect(switch(page, "Planning")).not_to_be_checked()
    assert said == []


def test_schedule_a_bot_move_the_event_and_watch_the_page_follow(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack)
    connect(page)
    switch(page, "Planning").click()
    expect(switch(page, "Planning")).to_be_checked()
    expect(page.get_by_text("Bot scheduled")).to_be_visible()
    shot(page, "notetaker-bot")
    loads: list[str] = []
    page.on("load", lambda _: loads.append("load"))
    row = page.get_by_role("listitem").filter(has_text="Planning")
    before = row.inner_text()
    calendar, event = event_of(stack, "Planning")
    stack.sandbox.move_event(calendar, event, by=timedelta(minutes=90))
    stack.ask_sync()
    expect(row).not_to_have_text(before)
    start = row.locator("time").first.inner_text()
    expect(row.get_by_text(f"joins at {start}")).to_be_visible()
    assert loads == []


def test_revoke_reconnect_and_the_bot_is_back(page: Page, stack: Stack, shot: Shot) -> None:
    sign_in(page, stack)
    connect(page)
    switch(page, "Planning").click()
    expect(page.get_by_text("Bot scheduled")).to_be_visible()
    stack.sandbox.revoke_account("ada@example.com")
    stack.forget_access_tokens()
    stack.ask_sync()
    expect(page.get_by_role("heading", name="Your Google calendar is disconnected")).to_be_visible()
    expect(page.get_by_text("Bot scheduled")).not_to_be_visible()
    shot(page, "notetaker-disconnected")
    page.get_by_role("button", name="Reconnect").click()
    page.get_by_role("button", name="bob@example.com").click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="This is another account")).to_be_visible()
    shot(page, "connect-other-account")
    page.get_by_role("link", name="Try again").click()
    page.get_by_role("button", name="ada@example.com").click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("Your calendar is connected.")).to_be_visible()
    expect(page.get_by_role("heading", name="Your Google calendar is disconnected")).not_to_be_visible()
    expect(page.get_by_text("Bot scheduled")).to_be_visible()
    expect(switch(page, "Planning")).to_be_checked()


def test_meetings_stand_under_the_readers_own_days(browser: Browser, stack: Stack) -> None:
    """In California an evening and the next noon are one day in UTC; an all-day event is no instant anywhere."""
    first = datetime.now(UTC).date() + timedelta(days=2)
    for title, start in (
        ("Evening", f"{first + timedelta(days=1)}T02:00:00Z"),
        ("Noon", f"{first + timedelta(days=1)}T20:00:00Z"),
        ("Day off", f"{first + timedelta(days=1)}"),
    ):
        stack.sandbox.create_event("ada@example.com", title=title, start=start)
    context = browser.new_context(locale="en-GB", timezone_id="America/Los_Angeles")
    page = context.new_page()
    sign_in(page, stack)
    connect(page)
    expect(page.get_by_text("Day off")).to_be_visible()

    def under(day: date) -> str:
        title = page.get_by_role("heading", name=f"{day:%A} {day.day} {day:%B}")
        return title.locator("xpath=following-sibling::ul[1]").inner_text()

    told = re.compile("All day|Day off|Evening|Noon")
    assert told.findall(under(first)) == ["Evening"]
    assert told.findall(under(first + timedelta(days=1))) == ["All day", "Day off", "Noon"]
    context.close()


def test_a_narrow_screen_shows_it_all(page: Page, stack: Stack, accessible: Callable[[Page], None]) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    long = "ada.king@a-department-with-a-long-name.in-a-subdomain.example.com"
    for title in ("x" * 100, "Planungsbesprechung mit der Arbeitsgruppe"):
        stack.sandbox.create_event(
            "ada@example.com", title=title, start=f"{datetime.now(UTC) + HOUR:%FT%TZ}", link=MEET
        )
    sign_in(page, stack, long)
    connect(page)
    expect(page.get_by_text("Planungsbesprechung")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    title = page.get_by_text("Planungsbesprechung").bounding_box()
    assert title
    assert title["width"] > 180, "a title has room beside its switch"
    accessible(page)


def test_many_calendars_leave_the_button_in_sight(page: Page, stack: Stack) -> None:
    for number in range(20):
        stack.sandbox.create_calendar(account="ada@example.com", summary=f"Team {number}", client_id="other")
    sign_in(page, stack)
    consent(page, "Google", "ada@example.com")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("radio", name="Team 19")).to_be_attached()
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollHeight > window.innerHeight")
    expect(page.get_by_role("button", name="Follow this calendar")).to_be_in_viewport(ratio=1)
