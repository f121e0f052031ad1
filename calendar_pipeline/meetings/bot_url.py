"""The `meeting_url` of a bot, as the API takes and stores it."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from calendar_pipeline.meetings.address import LONGEST, MAX_LINK
from calendar_pipeline.meetings.recognise import recognise

_SCHEME = re.compile(r"(?:https?|zoommtg|zoomus)://|msteams:/", re.IGNORECASE | re.ASCII)
_NO_SCHEME = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?[/?#]", re.IGNORECASE | re.ASCII)
_ENCODED: Final = re.compile(r"[a-z]+%(?:25)?3a%", re.IGNORECASE | re.ASCII)


def normalise_for_bot(url: str, *, extra_hosts: Sequence[str] = ()) -> str | None:
    """The form in which a bot's `meeting_url` is stored, or None if `url` is no link into a meeting.

    For Zoom, Google Meet and Teams this is the API's contract: white space around the link and a missing scheme are
    forgiven, as are two rounds of percent-encoding, and a link with another address inside is refused.

    Beyond the contract, what is found in events is taken here too, so that a client may copy an event's `meeting_url`
    into a bot: links of other platforms, which become their canonical `https` form, and links in a mail filter's
    wrapper.
    """
    link = url.strip() if len(url) <= 2 * LONGEST else ""
    for _ in range(2):
        if _ENCODED.match(link):
            link = unquote(link)
    if not _SCHEME.match(link):
        if not _NO_SCHEME.match(link):
            return None
        link = f"https://{link}"
    found = recognise(link, extra_hosts=extra_hosts)
    return None if found is None or len(found.url) > MAX_LINK else found.url
