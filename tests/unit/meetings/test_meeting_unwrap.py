"""Each wrapper of a mail filter, opened; and how deep."""

import base64
from urllib.parse import quote

import pytest

from calendar_pipeline.meetings.recognise import MOST_ROUNDS, recognise

ZOOM = "https://us02web.zoom.us/j/89012345678?pwd=aB3.1"
PCT = quote(ZOOM, safe="")
B64 = base64.b64encode(ZOOM.encode()).decode()
V2 = PCT.replace("_", "%5F").replace("-", "%2D").replace("%", "-")
V3_STARS = ZOOM.replace("?", "*").replace("=", "*")
V3_LIST = base64.urlsafe_b64encode(b"?=").decode().rstrip("=")
V3_RUN = ZOOM.replace("?pwd=", "**D")
V3_RUN_LIST = base64.urlsafe_b64encode(b"?pwd=").decode()

WRAPPED = [
    ("safelinks", f"https://eur01.safelinks.protection.outlook.com/?url={PCT}&data=05%7C01&sdata=x%3D&reserved=0"),
    ("safelinks-ap", f"https://nam12.safelinks.protection.outlook.com/ap/t-59584e83/?url={PCT}&data=x"),
    ("safelinks-entities", f"https://eur01.safelinks.protection.outlook.com/?data=1&amp;url={PCT}&amp;sdata=x"),
    ("safelinks-us", f"https://usg01.safelinks.protection.office365.us/?url={PCT}"),
    ("safelinks-cn", f"https://chn01.safelinks.protection.partner.outlook.cn/?url={PCT}"),
    (
        "teams-safelinks",
        f"https://statics.teams.cdn.office.net/evergreen-assets/safelinks/1/atp-safelinks.html?url={PCT}&x=1",
    ),
    ("google-q", f"https://www.google.com/url?q={PCT}&sa=D&source=calendar&usg=x"),
    ("google-q-bare", "https://www.google.com/url?q=https://us02web.zoom.us/j/89012345678?pwd%3DaB3.1&sa=D"),
    ("google-url", f"https://google.co.uk/url?sa=t&url={PCT}"),
    ("google-de", f"https://www.google.de/url?q={PCT}"),
    ("proofpoint-v1", f"https://urldefense.proofpoint.com/v1/url?u={PCT}&k=x%3D"),
    ("proofpoint-v2", f"https://urldefense.proofpoint.com/v2/url?u={V2}&d=DwMF&c=x"),
    ("proofpoint-v3", f"https://urldefense.com/v3/__{ZOOM}__;!!abc$"),
    ("proofpoint-v3-stars", f"https://urldefense.com/v3/__{V3_STARS}__;{V3_LIST}!!abc$"),
    ("proofpoint-v3-run", f"https://urldefense.us/v3/__{V3_RUN}__;{V3_RUN_LIST}!!abc$"),
    ("proofpoint-v3-slash", f"https://urldefense.proofpoint.com/v3/__{ZOOM.replace('//', '/')}__;!!abc$"),
    ("barracuda", f"https://linkprotect.cudasvc.com/url?a={PCT}&c=E,1,x"),
    ("cisco", f"https://secure-web.cisco.com/1aBc/{PCT}"),
    ("sophos", f"https://eu-west-1.protection.sophos.com/?d=zoom.us&u={B64}&i=x"),
    ("sophos-bare", f"https://eu-west-1.protection.sophos.com?d=zoom.us&u={quote(B64.rstrip('='))}"),
    ("trend-micro", f"https://imsva91-ctp.trendmicro.com:443/wis/clicktime/v1/query?url={PCT}&umid=x"),
]


@pytest.mark.parametrize("wrapped", [row[1] for row in WRAPPED], ids=[row[0] for row in WRAPPED])
def test_a_wrapper_is_opened_and_kept_as_found(wrapped: str) -> None:
    link = recognise(wrapped)
    assert link is not None
    assert (link.found, link.url, link.key) == (wrapped, ZOOM, "zoom:89012345678")


@pytest.mark.parametrize(
    "wrapped",
    [
        "https://eur01.safelinks.protection.outlook.com/?data=x",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.com",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fzoom.us%40evil.com%2Fj%2F123456789",
        f"https://statics.teams.cdn.office.net/other?url={PCT}",
        f"https://www.google.com/search?q={PCT}",
        "https://www.google.com/url?sa=D",
        "https://urldefense.proofpoint.com/v2/url?d=x",
        f"https://urldefense.proofpoint.com/v4/url?u={PCT}",
        f"https://urldefense.com/v3/{ZOOM}",
        f"https://urldefense.com/v3/__{ZOOM}__;*!!",
        "https://urldefense.com/v3/__https://zoom.us/*__;****!!",
        "https://eu.protection.sophos.com/?u=%%%",
        "https://eu.protection.sophos.com/?u=/////w",
        "https://eu.protection.sophos.com/?d=x",
        "https://secure-web.cisco.com",
        "https://protect-eu.mimecast.com/s/abc123",
        "https://bit.ly/abc123",
    ],
)
def test_a_wrapper_without_a_meeting_inside_is_none(wrapped: str) -> None:
    assert recognise(wrapped) is None


def _wrap(url: str, layers: int) -> str:
    for _ in range(layers):
        url = f"https://eur01.safelinks.protection.outlook.com/?url={quote(url, safe='')}"
    return url


def test_as_many_layers_are_opened_as_are_promised_and_no_more() -> None:
    deepest = recognise(_wrap(ZOOM, MOST_ROUNDS))
    assert deepest is not None
    assert deepest.url == ZOOM
    assert recognise(_wrap(ZOOM, MOST_ROUNDS + 1)) is None


def test_wrappers_of_different_makers_nest() -> None:
    link = recognise(f"https://www.google.com/url?q={quote(_wrap(ZOOM, 1), safe='')}")
    assert link is not None
    assert link.url == ZOOM
