"""The part of a report that says what verdicts and probabilities rest on, and how good they are."""

from __future__ import annotations

import math

import numpy as np

from clad.metrics.calibrated import BRIER, ECE
from clad.metrics.functional.brier import reliability
from clad.metrics.one_threshold import ACCURACY, ORACLE
from clad.reports.figures import Series, unit_square_figure
from clad.reports.markup import Markup, join, tag
from clad.reports.run_directory import Run
from clad.reports.tables import MEAN, format_fraction


def calibration_section(run: Run) -> Markup:
    """Sources of threshold and probability, one threshold for all, reliability, Brier and ECE."""
    facts = {
        "Threshold": run.card.get("threshold_source"),
        "Calibration": run.card.get("calibration_source"),
        "One threshold for all categories": _one_threshold(run),
    }
    shown = [join(tag("dt", name), tag("dd", str(value))) for name, value in facts.items() if value]
    if not shown:
        return tag("p", "Not recorded in this run.", class_="note")
    return join(tag("dl", *shown, class_="facts"), _reliability(run))


def _one_threshold(run: Run) -> str | None:
    accuracy, oracle = (run.evaluation.mean.get(name, math.nan) for name in (ACCURACY, ORACLE))
    if math.isnan(oracle):
        return None
    best = f"the best one on these very images, an oracle, reaches {format_fraction(oracle)}"
    if math.isnan(accuracy):
        return f"none was fitted; {best}"
    return f"mean accuracy {format_fraction(accuracy)}; {best}"


def _reliability(run: Run) -> Markup | None:
    """The curve of all images with a probability, and the numbers of each category."""
    predictions = run.predictions
    values = predictions.standings.get("probability")
    if values is None:
        return None
    known = ~np.isnan(values)
    labels = predictions.labels[known]
    bins = reliability(values[known], labels)
    curve = Series("all images", (bins.probability, bins.anomalous), 1)
    title = "Reliability of probabilities"
    chart = unit_square_figure(
        [curve], title, "mean probability in a tenth", "share that is anomalous", True
    )
    rows = [*run.evaluation.per_category.items(), (MEAN, run.evaluation.mean)]
    cells = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", format_fraction(row.get(metric, math.nan))) for metric in (BRIER, ECE)),
            class_="mean" if name == MEAN and row is run.evaluation.mean else None,
        )
        for name, row in rows
    ]
    heads = ("Category", "Brier score", "Calibration error")
    head = tag("tr", *(tag("th", name, scope="col") for name in heads))
    table = tag("table", tag("thead", head), tag("tbody", *cells))
    note = (
        f"{labels.mean():.1%} of these {len(labels):,} test images are anomalous. On the diagonal "
        "a probability is the share that came true; above it, too low. A probability holds for "
        "the share of anomalous images named above only. Brier score: mean squared difference "
        "from the truth. Calibration error: mean gap to the diagonal over tenths; a few images "
        "make it large by chance."
    )
    return join(
        tag("figure", tag("figcaption", title), chart),
        tag("div", table, class_="scroll", tabindex=0),
        tag("p", note, class_="note"),
    )
