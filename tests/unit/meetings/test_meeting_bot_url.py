"""A bot's `meeting_url`: the API contract's rows, and what is taken beyond them."""

from urllib.parse import quote

import pytest

from calendar_pipeline.meetings.bot_url import normalise_for_bot

CONTEXT = '{"Tid":"t-1","Oid":"o-1"}'
THREAD = "19:meeting_A@thread.v2"
TEAMS = f"https://teams.microsoft.com/l/meetup-join/{THREAD}/0?context={CONTEXT}"
TEAMS_ENCODED = (
    f"https://teams.microsoft.com/l/meetup-join/{quote(THREAD, safe='')}/0?context={quote(CONTEXT, safe='')}"
)
ZOOM = "https://zoom.us/j/123456789"

CONTRACT = [
    ("zoom", "https://zoom.us/j/123", "https://zoom.us/j/123"),
    ("zoom-no-scheme", "zoom.us/j/123", "https://zoom.us/j/123"),
    ("zoom-white-space", " \n https://zoom.us/j/123\t", "https://zoom.us/j/123"),
    ("zoom-http", "http://zoom.us/j/123", "https://zoom.us/j/123"),
    ("zoom-com", "https://us02web.zoom.com/j/123", "https://us02web.zoom.us/j/123"),
    ("zoom-path-cut", "https://zoom.us/j/123!rest/4", "https://zoom.us/j/123"),
    ("zoom-pwd", "https://zoom.us/j/123?a=1&pwd=aB.12x&b=2", "https://zoom.us/j/123?pwd=aB.12"),
    ("zoom-tk", "https://zoom.us/w/123?tk=a-b&x=1", "https://zoom.us/w/123?tk=a-b"),
    ("zoom-any-digits", "https://zoom.us/x/y9", "https://zoom.us/x/y9"),
    ("zoom-encoded", "https%3A%2F%2Fzoom.us%2Fj%2F123%3Fpwd%3Da", "https://zoom.us/j/123?pwd=a"),
    ("zoom-encoded-twice", quote(quote("https://zoom.us/j/123", safe=""), safe=""), "https://zoom.us/j/123"),
    ("zoom-encoded-path", "https://zoom.us/%6A%2F%31", "https://zoom.us/j/1"),
    ("meet", "https://meet.google.com/abc-defg-hij?authuser=0", "https://meet.google.com/abc-defg-hij"),
    ("meet-case", "https://meet.google.com/ABC-defg-hij", "https://meet.google.com/ABC-defg-hij"),
    ("meet-no-scheme", "meet.google.com/abc-defg-hij", "https://meet.google.com/abc-defg-hij"),
    ("meet-encoded", "https://meet.google.com/abc%2Ddefg%2Dhij", "https://meet.google.com/abc-defg-hij"),
    ("meet-encoded-twice", "https://meet.google.com/abc%252Ddefg-hij", "https://meet.google.com/abc-defg-hij"),
    ("teams", TEAMS, TEAMS),
    ("teams-encoded", TEAMS_ENCODED, TEAMS),
    ("teams-more-in-context", TEAMS.replace("{", '{"IsBroadcastMeeting":false,'), TEAMS),
    ("teams-spaces-in-context", TEAMS_ENCODED.replace("%3A%22", "%3A%20%22"), TEAMS),
    ("teams-live", TEAMS_ENCODED.replace("microsoft.com", "live.com"), TEAMS),
    ("teams-launcher",
     f"https://teams.microsoft.com/dl/launcher/launcher.html?url={quote('/_#' + TEAMS_ENCODED[27:], safe='')}", TEAMS),
    ("teams-short", "https://teams.microsoft.com/meet/24?p=a1&x=1", "https://teams.microsoft.com/meet/24?p=a1"),
    ("teams-short-live", "teams.live.com/meet/24?p=a1", "https://teams.live.com/meet/24?p=a1"),
]  # fmt: skip
BEYOND = [
    ("webex", "acme.webex.com/meet/jroe", "https://acme.webex.com/meet/jroe"),
    ("zoom-personal", "https://zoom.us/my/jane", "https://zoom.us/my/jane"),
    ("zoomgov", "https://zoomgov.com/j/1601234567", "https://zoomgov.com/j/1601234567"),
    ("teams-gov", "https://teams.microsoft.us/meet/24?p=a1", "https://teams.microsoft.us/meet/24?p=a1"),
    ("app", "zoommtg://zoom.us/join?confno=123", "https://zoom.us/j/123"),
    ("google-redirect", f"https://www.google.com/url?q={ZOOM}", ZOOM),
    ("safelink", f"https://eur01.safelinks.protection.outlook.com/?url={quote(ZOOM, safe='')}", ZOOM),
    ("quot-entities", TEAMS.replace('"', "&quot;"), TEAMS),
]


@pytest.mark.parametrize(("given", "url"), [row[1:] for row in CONTRACT], ids=[row[0] for row in CONTRACT])
def test_the_contracts_links_take_the_contracts_form(given: str, url: str) -> None:
    assert normalise_for_bot(given) == url


@pytest.mark.parametrize(("given", "url"), [row[1:] for row in BEYOND], ids=[row[0] for row in BEYOND])
def test_what_events_are_found_to_hold_is_taken_too(given: str, url: str) -> None:
    assert normalise_for_bot(given) == url


def test_an_operators_host_is_taken() -> None:
    assert normalise_for_bot("meet.acme.example/r", extra_hosts=["acme.example"]) == "https://meet.acme.example/r"
    assert normalise_for_bot("meet.acme.example/r") is None


@pytest.mark.parametrize(
    "given",
    [
        "",
        "   ",
        "zoom.us",
        "https://zoom.us/",
        "https://zoom.us/my",
        "123456789",
        "https://example.com/j/123",
        "https://meet.google.com/abc",
        "https://teams.microsoft.com/meet/24",
        'https://teams.microsoft.com/l/meetup-join/19:a@thread.v2/0?context={"Tid":"t"}',
        "https://zoom.us/j/123?next=https://example.com/",
        "https://zoom.us/j/123?next=https%3A%2F%2Fexample.com",
        "https://example.com/https://zoom.us/j/123",
        "zoom.us/j/123 https://zoom.us/j/456",
        "ftp://zoom.us/j/123",
        "//zoom.us/j/123",
        "user@zoom.us/j/123",
        "zoom.us:8080/j/123",
        "https%253A%252F%252Fexample.com",
        "https://zoom.us/j/1" + " " * 20_000,
    ],
)  # fmt: skip
def test_what_is_no_meeting_link_is_refused(given: str) -> None:
    assert normalise_for_bot(given) is None
