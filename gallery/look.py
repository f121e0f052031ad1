"""How all pictures look: on light and on dark, in colours that colour-blind people tell apart (Okabe and Ito's)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

SETTINGS: Mapping[str, Any] = {
    "svg.hashsalt": "calendar-pipeline",  # the same file each time
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
SIZE = (7.4, 3.9)
"""Inches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours on one background."""

    name: str
    face: str
    text: str
    quiet: str
    blue: str = "#0072B2"
    orange: str = "#D55E00"
    green: str = "#009E73"
    on_bar: str = "#ffffff"
    scale: Sequence[str]
    """From nothing to much."""

    @property
    def colours(self) -> Any:
        """The scale, for matplotlib."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(self.name, list(self.scale))

    def on(self, share: float) -> str:
        """The colour of text on this share of the scale."""
        return self.on_bar if share > 0.5 else self.text

    def say(self, axes: Any, title: str, more: str) -> None:
        """Title, and a line below it."""
        axes.set_title(title, loc="left", pad=26, fontsize=13, weight="bold", color=self.text)
        axes.text(0, 1.035, more, transform=axes.transAxes, color=self.text, va="bottom")

    def axes(self, axes: Any, *, x: str, y: str, grid: bool = True) -> None:
        """Labels, and lines that do not speak louder than what they hold."""
        axes.set_xlabel(x, color=self.text, labelpad=8)
        axes.set_ylabel(y, color=self.text)
        axes.tick_params(colors=self.text, length=0)
        for spine in axes.spines.values():
            spine.set_color(self.quiet)
            spine.set_visible(spine.spine_type == "bottom" and grid)
        if grid:
            axes.grid(axis="y", color=self.quiet, linewidth=0.6)

    def legend(self, axes: Any) -> None:
        """What stands for what."""
        axes.legend(loc="upper right", labelcolor=self.text)

    def bar(self, bar: Any, label: str) -> None:
        """The scale beside a picture."""
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=self.text, length=0)
        bar.set_label(label, color=self.text)


LOOKS: Sequence[Look] = (
    Look(name="light", face="#ffffff", text="#24292f", quiet="#d0d7de", scale=("#f2f6fa", "#5fa8d3", "#00456e")),
    Look(
        name="dark", face="#1e2129", text="#e2e4e9", quiet="#4a4f5c", blue="#3d9fd6", orange="#e8752a", green="#2fbf93",
        on_bar="#10222e",         scale=("#262b35", "#2f7fb0", "#a9dcff"),
    ),
)  # fmt: skip


def picture(draw: Callable[[Any, Look], None], look: Look) -> bytes:
    """An SVG, the same bytes for the same values."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(cast("Any", {**SETTINGS, "text.color": look.text})):
        figure = Figure(figsize=SIZE, layout="constrained", facecolor=look.face)
        cast("Any", figure.get_layout_engine()).set(w_pad=0.12, h_pad=0.1)
        axes = figure.add_subplot(facecolor=look.face)
        draw(axes, look)
        written = BytesIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    return written.getvalue()
