"""Takes the links out of an event's text, as they stand there.

A link is what starts with `http://` or `https://` (or an app's scheme) and runs up to white space, `<`, `>`, a quote or
a backslash. The first reading takes the text as it is, as the API does that ours is compatible with; the later ones
undo what mail programs do to texts, and are for texts in which the first reading found no meeting.
"""

import re
from collections.abc import Iterator
from typing import Final

from calendar_pipeline.meetings.address import LONGEST, unescape, visible

LONGEST_TEXT: Final = 65_536
"""Characters of a text that are read; what stands behind is not looked at."""

_SCHEMES: Final = ("https", "http", "zoommtg", "zoomus", "msteams")
_BETWEEN_LINKS: Final = " \n\r\t<>\"'"
_RUN = re.compile(r"[^\s<>\"'\\\x00-\x1f\x7f]*")
# The one link form with quotes in it: a Teams link with its context in plain.
_PLAIN_CONTEXT = re.compile(r'(?:"[A-Za-z]{1,32}":(?:"[0-9A-Za-z._-]{1,64}"|true|false),?){1,8}\}')
_ENDING_OF_SENTENCE: Final = ")].,;}>"
_LINK_CHARACTERS = re.compile(r"[\w.~:/?#@!$&()*+,;=%-]*")
_OPEN_ENTITY = re.compile(r"&[#A-Za-z0-9]{2,32}\Z", re.ASCII)
_ESCAPED_EDGE = re.compile(r"&(?:nbsp|lt|gt|quot|apos|#160|#xa0|#34|#39)(?:;|\Z)", re.IGNORECASE | re.ASCII)
# A quoted-printable soft break (RFC 2045, 6.7) or a folded content line (RFC 5545, 3.1).
_FOLD = re.compile(r"=\r?\n|\r?\n[ \t]")
_POSSIBLE_BREAK = re.compile(r"<wbr\s{0,8}/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(
    r"</?(?:br|p|div|td|tr|th|table|li|ul|ol|h[1-6]|hr|pre|blockquote|body|html|head)(?![A-Za-z])[^<>]*>", re.IGNORECASE
)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")


def readings(text: str, *, markup: bool) -> Iterator[Iterator[str]]:
    """The links of `text`, reading by reading; a link may be in more than one of them."""
    if len(text) > LONGEST_TEXT:
        # What the cut goes through may be half a link, which would lead into a stranger's meeting.
        text = text[:LONGEST_TEXT]
        text = text[: max(map(text.rfind, _BETWEEN_LINKS)) + 1]
    if markup and "<" in text:
        text = _POSSIBLE_BREAK.sub("", text)
    linked = ":/" in text
    if linked:
        yield _links(text)
        if "\n" in text and (unfolded := _FOLD.sub("", text)) != text:
            yield _links(unfolded)
    if markup and (linked or ("&" in text and "http" in text)):
        if "&" in text:
            yield _links(unescape(text))
        yield _links(unescape(visible(_TAG.sub("", _BLOCK_TAG.sub("\n", text)))))


def trimmed(link: str) -> Iterator[str]:
    """What `link` may be without the text that follows it, the longest first.

    By the contract's rule; by that rule, but leaving an HTML entity its semicolon; by a stricter rule, which ends a
    link at the first character that a URL cannot have, and takes off all closing punctuation.
    """
    if link.endswith('"}'):
        yield link
        return
    loose = link.rstrip(_ENDING_OF_SENTENCE)
    yield loose
    if link.startswith(";", len(loose)) and _OPEN_ENTITY.search(loose):
        yield f"{loose};"
    edge = _ESCAPED_EDGE.search(loose)
    strict = _prefix(loose if edge is None else loose[: edge.start()])
    if strict.count("(") > strict.count(")"):
        strict = strict[: strict.rindex("(")]
    strict = strict.rstrip(".,;:!?)*_")
    if strict != loose:
        yield strict


def _links(text: str) -> Iterator[str]:
    at = 0
    while (mark := text.find(":/", at)) >= 0:
        start = _start(text, mark, at)
        if start is None:
            at = mark + 2
            continue
        run = _RUN.match(text, mark)
        at = mark if run is None else run.end()
        if (
            text.startswith('"', at)
            and text.endswith("{", mark, at)
            and (context := _PLAIN_CONTEXT.match(text, at)) is not None
        ):
            at = context.end()
        if at - start <= LONGEST:
            yield text[start:at]


def _start(text: str, mark: int, least: int) -> int | None:
    before = text[max(least, mark - 7) : mark].lower()
    for scheme in _SCHEMES:
        if before.endswith(scheme):
            return mark - len(scheme) if text.startswith("//", mark + 1) or scheme == "msteams" else None
    return None


def _prefix(link: str) -> str:
    found = _LINK_CHARACTERS.match(link)
    return "" if found is None else found[0]
