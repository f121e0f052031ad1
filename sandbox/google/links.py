"""How a meeting link sits in an event: Meet in `hangoutLink` and `conferenceData`, others as an add-on's."""

from typing import Any
from urllib.parse import urlsplit

_NAMES = {"zoom.us": "Zoom Meeting", "teams.microsoft.com": "Microsoft Teams Meeting", "webex.com": "Webex"}


def conference(url: str) -> dict[str, Any]:
    """The fields that an event with this meeting link has."""
    host, path = urlsplit(url).hostname or "", urlsplit(url).path
    label = f"{host}{path}"
    if host == "meet.google.com":
        code = path.strip("/")
        solution: dict[str, Any] = {"key": {"type": "hangoutsMeet"}, "name": "Google Meet"}
        entry = {"entryPointType": "video", "uri": url, "label": label}
        data: dict[str, Any] = {"conferenceId": code, "conferenceSolution": solution, "entryPoints": [entry]}
        return {"hangoutLink": url, "conferenceData": data}
    name = next((name for part, name in _NAMES.items() if host == part or host.endswith("." + part)), "Meeting")
    solution = {"key": {"type": "addOn"}, "name": name}
    entry = {"entryPointType": "video", "uri": url, "label": label}
    return {
        "conferenceData": {
            "conferenceId": path.rsplit("/", 1)[-1][:64] or host,
            "conferenceSolution": solution,
            "entryPoints": [entry],
        },
        "hangoutLink": None,
    }
