"""Small pictures in a run's metadata: SVG, carried in Markdown, so that the UI fetches nothing for them."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape

import dagster as dg

ROW = 22
LABEL = 90
BAR = 300
INK = "#2e3a59"
GREY = "#7a7f8c"


def bars(title: str, counts: Mapping[str, float]) -> dg.MarkdownMetadataValue:
    """A bar for each name, the longest as long as the picture allows, each with its number."""
    most = max(counts.values(), default=0) or 1
    rows = "".join(
        f'<text x="{LABEL - 8}" y="{position * ROW + 15}" text-anchor="end" fill="{GREY}">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{position * ROW + 4}" width="{BAR * value / most:.1f}" height="14" fill="{INK}"/>'
        f'<text x="{LABEL + BAR * value / most + 6:.1f}" y="{position * ROW + 15}" fill="{INK}">{value:g}</text>'
        for position, (name, value) in enumerate(counts.items())
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + BAR + 60}" height="{ROW * len(counts) + 6}" '
        f'font-family="sans-serif" font-size="12">{rows}</svg>'
    )
    text = ", ".join(f"{name}: {value:g}" for name, value in counts.items())
    return dg.MetadataValue.md(
        f"{title}\n\n![{text}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})\n\n{text}"
    )
