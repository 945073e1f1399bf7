from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from clad.metrics.bootstrap import Interval
from clad.reports.curves import score_histogram
from clad.reports.figures import (
    Series,
    histogram_figure,
    interval_figure,
    nice_ticks,
    unit_square_figure,
)


def elements(svg, name, css=None):
    found = ElementTree.fromstring(svg).iter(name)
    return [e for e in found if css is None or css in (e.get("class") or "").split()]


def test_curves_start_and_end_where_their_points_do():
    square = (np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    svg = unit_square_figure([Series("<nut>", square, 1)], "ROC", "x", "y", chance=True)
    (path,) = elements(svg, "path")
    assert path.get("d") == "M46 314L46 14L406 14"
    assert path.find("title").text == "<nut>"
    assert len(elements(svg, "line", "chance")) == 1


def test_bar_heights_are_in_proportion_to_counts_and_sides_to_classes():
    scores = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    histogram = score_histogram(scores, np.array([0, 0, 0, 0, 1, 1]), 0.5, num_bins=2)
    svg = histogram_figure(histogram, 0.5, "Scores")
    (normal,), (anomalous,) = elements(svg, "rect", "normal"), elements(svg, "rect", "anomalous")
    assert float(normal.get("height")) == pytest.approx(2 * float(anomalous.get("height")))
    assert float(normal.get("y")) < float(anomalous.get("y"))
    assert normal.find("title").text.startswith("4 normal")
    (line,) = elements(svg, "line", "threshold")
    # The threshold lies where the two bars meet.
    end = float(normal.get("x")) + float(normal.get("width")) + 0.5
    assert float(line.get("x1")) == pytest.approx(end, abs=0.02)
    assert not elements(histogram_figure(histogram, np.nan, "Scores"), "line", "threshold")


def test_whiskers_hold_their_dots_and_the_mean_stands_out():
    rows = [("nut", 0.8, Interval(0.7, 0.9)), ("mean", 0.85, Interval(0.8, 0.9))]
    svg = interval_figure(rows, "AUROC")
    dots, whiskers = elements(svg, "circle", "dot"), elements(svg, "line", "whisker")
    for dot, whisker in zip(dots, whiskers, strict=True):
        assert float(whisker.get("x1")) < float(dot.get("cx")) < float(whisker.get("x2"))
    assert [("mean" in dot.get("class")) for dot in dots] == [False, True]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-13, 41, [-10, 0, 10, 20, 30, 40]),
        (0.93, 1, [0.94, 0.96, 0.98, 1]),
    ],
)
def test_ticks_are_round_numbers_inside(low, high, ticks):
    assert nice_ticks(low, high) == ticks
