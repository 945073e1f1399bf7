"""Charts as inline SVG. Colours are CSS variables of the page, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.metrics.bootstrap import Interval
from clad.reports.curves import Histogram, Points
from clad.reports.markup import Markup, join, tag

NUM_COLOURS = 6
_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        name: Shown in the tooltip.
        points: x and y in [0, 1].
        colour: 1 to ``NUM_COLOURS``, or 0 for a quiet line in the background.
    """

    name: str
    points: Points
    colour: int


@dataclass(frozen=True)
class Scale:
    """A linear map from data to drawing units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float | NDArray) -> NDArray[np.float64]:
        """Values in drawing units."""
        share = (np.asarray(value, dtype=np.float64) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def at(self, value: float) -> float:
        """One value in drawing units."""
        return float(self(value))


def unit_square_figure(
    series: Sequence[Series], title: str, x_label: str, y_label: str, chance: bool = False
) -> Markup:
    """Curves in the unit square; ``chance`` adds the diagonal."""
    x, y = Scale(0, 1, 46, 406), Scale(0, 1, 314, 14)
    parts: list[Markup] = []
    for tick in _FIFTHS:
        parts.append(_line(x.at(tick), y.at(0), x.at(tick), y.at(1), "grid"))
        parts.append(_line(x.at(0), y.at(tick), x.at(1), y.at(tick), "grid"))
        parts.append(_label(f"{tick:.1f}", x.at(tick), y.at(0) + 17, "middle"))
        parts.append(_label(f"{tick:.1f}", x.at(0) - 8, y.at(tick) + 4, "end"))
    if chance:
        parts.append(_line(x.at(0), y.at(0), x.at(1), y.at(1), "chance"))
    for one in sorted(series, key=lambda entry: entry.colour > 0):
        path = _path(x(one.points[0]), y(one.points[1]))
        css = f"curve c{one.colour}" if one.colour else "curve quiet"
        parts.append(tag("path", tag("title", one.name), d=path, class_=css))
    parts.append(_label(x_label, x.at(0.5), 354, "middle", "axis"))
    parts.append(_turned_label(y_label, 12, y.at(0.5)))
    return _svg(418, 364, title, parts)


def histogram_figure(histogram: Histogram, threshold: float, title: str) -> Markup:
    """Counts of normal images upwards and anomalous ones downwards, with the threshold line."""
    left, right, top, middle, bottom = 46, 456, 30, 116, 202
    x = Scale(float(histogram.edges[0]), float(histogram.edges[-1]), left, right)
    tallest = max(int(histogram.normal.max()), int(histogram.anomalous.max()), 1)
    up, down = Scale(0, tallest, middle, top), Scale(0, tallest, middle, bottom)
    parts = [
        _line(left, up.at(tallest), right, up.at(tallest), "grid"),
        _line(left, down.at(tallest), right, down.at(tallest), "grid"),
        *(_label(str(tallest), left - 8, s.at(tallest) + 4, "end") for s in (up, down)),
        _label("0", left - 8, middle + 4, "end"),
    ]
    for counts, scale, css in (
        (histogram.normal, up, "normal"),
        (histogram.anomalous, down, "anomalous"),
    ):
        for count, start, end in zip(
            counts.tolist(), histogram.edges[:-1], histogram.edges[1:], strict=True
        ):
            if count:
                edge = scale.at(count)
                parts.append(
                    tag(
                        "rect",
                        tag("title", f"{count} {css}, score {start:.4g} to {end:.4g}"),
                        x=x.at(start) + 0.5,
                        y=min(edge, middle),
                        width=x.at(end) - x.at(start) - 1,
                        height=abs(edge - middle),
                        class_=f"bar {css}",
                    )
                )
    parts.append(_line(left, middle, right, middle, "base"))
    parts += [
        _label(f"{tick:g}", x.at(tick), bottom + 18, "middle") for tick in nice_ticks(x.low, x.high)
    ]
    if not np.isnan(threshold):
        parts.append(_line(x.at(threshold), top - 8, x.at(threshold), bottom, "threshold"))
        anchor = "start" if x.at(threshold) < (left + right) / 2 else "end"
        shift = 5 if anchor == "start" else -5
        text = f"threshold {threshold:.4g}"
        parts.append(_label(text, x.at(threshold) + shift, top - 12, anchor, "strong"))
    parts.append(_label("anomaly score", (left + right) / 2, bottom + 38, "middle", "axis"))
    parts.append(_turned_label("images", 12, middle))
    return _svg(470, 246, title, parts)


def interval_figure(rows: Sequence[tuple[str, float, Interval]], title: str) -> Markup:
    """A dot with its confidence interval per row; the last row stands for the mean.

    The axis starts at a round number below everything shown, never assumed to be zero: dots, not
    bars, because a cut bar would lie about proportions.
    """
    lows = [value for _, value, _ in rows] + [interval.low for _, _, interval in rows]
    low = min(0.95, np.floor(min(lows) * 20 - 0.2) / 20)
    x = Scale(max(0.0, float(low)), 1.0, 116, 424)
    bottom = 20 + 30 * len(rows)
    parts: list[Markup] = []
    for tick in nice_ticks(x.low, x.high):
        parts.append(_line(x.at(tick), 8, x.at(tick), bottom, "grid"))
        parts.append(_label(f"{tick:g}", x.at(tick), bottom + 18, "middle"))
    for position, (name, value, interval) in enumerate(rows):
        y = 28 + 30 * position
        css = "dot mean" if position == len(rows) - 1 else "dot"
        shown = name if len(name) <= 15 else name[:14] + "…"
        parts.append(_label(shown, 106, y + 4, "end", "strong" if "mean" in css else None))
        parts.append(_line(x.at(interval.low), y, x.at(interval.high), y, "whisker"))
        tooltip = tag("title", f"{name} {value:.4f}")
        parts.append(tag("circle", tooltip, cx=x.at(value), cy=y, r=5, class_=css))
    return _svg(440, bottom + 28, title, parts)


def nice_ticks(low: float, high: float, target: int = 6) -> list[float]:
    """Round numbers in [low, high], some ``target`` of them, steps of 1, 2 or 5 times a power."""
    rough = (high - low) / target
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        join(*parts),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="chart",
    )


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """SVG path at a tenth of a unit; points that fall together there are written once."""
    points = np.round(np.column_stack([x, y]), 1)
    keep = np.append(True, (points[1:] != points[:-1]).any(axis=1))
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in points[keep].tolist())


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=css)


def _label(text: str, x: float, y: float, anchor: str, css: str | None = None) -> Markup:
    return tag("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=css)


def _turned_label(text: str, x: float, y: float) -> Markup:
    turn = f"rotate(-90 {x:g} {y:g})"
    return tag(
        "text", text, x=float(x), y=float(y), text_anchor="middle", transform=turn, class_="axis"
    )
