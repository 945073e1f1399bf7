"""The parts of a report that show numbers: verdict, metrics, curves, histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clad.metrics.bootstrap import Interval, Intervals
from clad.metrics.evaluate import IMAGE_METRICS, THRESHOLD_METRICS
from clad.metrics.functional.auroc import auroc
from clad.metrics.functional.average_precision import average_precision
from clad.metrics.pixel_state import AUPIMO, PIXEL_METRICS, PUBLISHED_PRO
from clad.reports.curves import Points, precision_recall_points, roc_points, score_histogram
from clad.reports.figures import (
    NUM_COLOURS,
    Series,
    histogram_figure,
    interval_figure,
    unit_square_figure,
)
from clad.reports.markup import Markup, join, tag
from clad.reports.run_directory import Run
from clad.reports.tables import MEAN, domain_mean, format_fraction

METRIC_TITLES = {
    "image_auroc": "AUROC",
    "image_ap": "AP",
    "image_f1_max": "F1\N{NON-BREAKING HYPHEN}max",
    "pixel_auroc": "AUROC",
    "pixel_ap": "AP",
    "pixel_f1_max": "F1\N{NON-BREAKING HYPHEN}max",
    "pixel_aupro": "AUPRO",
    "pixel_eer": "EER",
    "pixel_false_alarms_at_95_recall": "False alarms at 95 % recall",
    "pixel_aupro_200": "AUPRO, 200 thresholds",
    "pixel_aupimo": "AUPIMO",
    "image_accuracy": "Accuracy",
    "image_f1": "F1",
    "image_recall": "Recall",
    "image_false_alarm_rate": "False alarms",
}
_GROUPS = {
    "Images, any threshold": IMAGE_METRICS,
    "Pixels, any threshold": (*PIXEL_METRICS, PUBLISHED_PRO, AUPIMO),
    "Images, at the threshold": THRESHOLD_METRICS,
}
# With more categories than colours, so many of the lowest curves stand out; the rest is quiet.
_NUM_HIGHLIGHTED = 3


class _CategoryCurves(NamedTuple):
    name: str
    roc: Points
    recall: Points
    auroc: float
    precision: float


def verdict(run: Run, intervals: Intervals) -> str:
    """One to three sentences: what was tested, how well it separates, what the threshold does."""
    labels, mean = run.predictions.labels, run.evaluation.mean
    num_categories = len(run.predictions.category_names)
    where = "one category" if num_categories == 1 else f"{num_categories} categories"
    counts = f"{(labels == 0).sum():,} normal and {(labels == 1).sum():,} anomalous"
    tested = f"Tested on {counts} images of {where}."
    value = mean.get("image_auroc", math.nan)
    if math.isnan(value):
        return f"{tested} Image AUROC is undefined: see the notes."
    text = f"{tested} Image AUROC is {format_fraction(value)}"
    interval = intervals.mean.get("image_auroc")
    if interval is not None:
        text += f" ({intervals.confidence:.0%} interval {_range(interval)})"
    text += "." if num_categories == 1 else ", mean over categories."
    recall, alarms = (mean.get(n, math.nan) for n in ("image_recall", "image_false_alarm_rate"))
    if not math.isnan(recall + alarms):
        text += (
            f" At the threshold it finds {recall:.1%} of the anomalous images and raises a false "
            f"alarm on {alarms:.1%} of the normal ones."
        )
    return text


def key_figures(run: Run, intervals: Intervals) -> Markup:
    """The numbers that a reader looks for first, large, below the verdict."""
    chosen = (
        ("image_auroc", "Image AUROC"),
        ("image_ap", "Image AP"),
        ("pixel_aupro", "Pixel AUPRO"),
        ("image_recall", "Recall at threshold"),
        ("image_false_alarm_rate", "False alarm rate"),
    )
    tiles = []
    one = len(run.predictions.category_names) == 1
    for metric, title in chosen:
        value = run.evaluation.mean.get(metric, math.nan)
        if not math.isnan(value):
            interval = intervals.mean.get(metric)
            detail = "one category" if one else "mean over categories"
            if interval is not None:
                detail = f"{intervals.confidence:.0%} interval {_range(interval)}"
            tiles.append(
                tag(
                    "div",
                    tag("dt", title),
                    tag("dd", format_fraction(value), class_="figure"),
                    tag("dd", detail),
                    class_="tile",
                )
            )
    return tag("dl", join(*tiles), class_="tiles")


def metrics_section(run: Run, intervals: Intervals) -> Markup:
    """The table of all metrics with intervals, and the intervals drawn."""
    evaluation = run.evaluation
    groups = {
        title: [m for m in metrics if not math.isnan(evaluation.mean.get(m, math.nan))]
        for title, metrics in _GROUPS.items()
    }
    groups = {title: metrics for title, metrics in groups.items() if metrics}
    top = [tag("th", title, colspan=len(m), scope="colgroup") for title, m in groups.items()]
    second = [tag("th", METRIC_TITLES[m], scope="col") for ms in groups.values() for m in ms]
    columns = [metric for metrics in groups.values() for metric in metrics]
    rows = [
        _metrics_row(
            name, values, intervals.per_category.get(name, {}), columns, _counts(run, name)
        )
        for name, values in evaluation.per_category.items()
    ]
    rows += [
        _metrics_row(domain_mean(name), values, {}, columns, _domain_counts(run, name), css="mean")
        for name, values in evaluation.per_domain.items()
    ]
    total = _counts(run, None)
    rows.append(_metrics_row(MEAN, evaluation.mean, intervals.mean, columns, total, css="mean"))
    table = tag(
        "table",
        tag(
            "thead",
            tag("tr", tag("th", "Category", rowspan=2, scope="col"), _images_head(), *top),
            tag("tr", *second),
        ),
        tag("tbody", *rows),
        class_="metrics",
    )
    dots = [
        (name, values["image_auroc"], intervals.per_category[name]["image_auroc"])
        for name, values in evaluation.per_category.items()
        if name in intervals.per_category
    ]
    if dots:
        dots.append((MEAN, evaluation.mean["image_auroc"], intervals.mean["image_auroc"]))
    note = (
        f"Fractions from 0 to 1; small numbers are {intervals.confidence:.0%} bootstrap intervals "
        f"over {intervals.unit} (stratified by category and label). The mean is taken over "
        "categories."
    )
    parts = [tag("div", table, class_="scroll", tabindex=0), tag("p", note, class_="note")]
    if dots:
        chart = interval_figure(dots, "Image AUROC per category")
        parts.append(_figure("Image AUROC with its interval", chart, "wide"))
    return join(*parts)


def curves_section(run: Run) -> Markup:
    """ROC and precision-recall curves of image scores, one line per category."""
    entries = _category_curves(run)
    if not entries:
        return tag("p", "No category has both normal and anomalous images.", class_="note")
    lowest = sorted(entries, key=lambda entry: entry.auroc)[:_NUM_HIGHLIGHTED]
    shown = entries if len(entries) <= NUM_COLOURS else [e for e in entries if e in lowest]
    colour = {entry.name: position for position, entry in enumerate(shown, start=1)}
    keys = [
        tag(
            "li",
            tag("span", class_=f"swatch c{colour[entry.name]}"),
            entry.name + " ",
            tag(
                "small",
                f"AUROC {format_fraction(entry.auroc)}, AP {format_fraction(entry.precision)}",
            ),
        )
        for entry in shown
    ]
    if len(shown) < len(entries):
        others = f"{len(entries) - len(shown)} categories with a larger AUROC"
        keys.append(tag("li", tag("span", class_="swatch quiet"), others))
    roc = [Series(e.name, e.roc, colour.get(e.name, 0)) for e in entries]
    recall = [Series(e.name, e.recall, colour.get(e.name, 0)) for e in entries]
    roc_title, recall_title = "Receiver operating characteristic", "Precision and recall"
    charts = (
        _figure(roc_title, unit_square_figure(roc, roc_title, "false alarm rate", "recall", True)),
        _figure(recall_title, unit_square_figure(recall, recall_title, "recall", "precision")),
    )
    return join(tag("ul", *keys, class_="legend"), tag("div", *charts, class_="pair"))


def histograms_section(run: Run) -> Markup:
    """Raw scores of normal and anomalous images, one chart per category."""
    predictions = run.predictions
    figures, is_cut = [], False
    for name in predictions.category_names:
        rows = predictions.rows_of(name)
        scores, labels = predictions.scores[rows], predictions.labels[rows]
        threshold = float(predictions.thresholds[rows[0]])
        histogram = score_histogram(scores, labels, threshold)
        is_cut |= histogram.is_cut
        chart = histogram_figure(histogram, threshold, f"Scores of {name}")
        figures.append(_figure(name, chart))
    legend = tag(
        "ul",
        tag("li", tag("span", class_="swatch normal"), "normal, upwards"),
        tag("li", tag("span", class_="swatch anomalous"), "anomalous, downwards"),
        class_="legend",
    )
    source = run.card.get("threshold_source")
    known = not np.isnan(predictions.thresholds).all()
    note = f"Threshold: {source}." if known and source else "No threshold was fitted in this run."
    if is_cut:
        note += " Scores far outside are counted in the outer bins."
    return join(legend, tag("div", *figures, class_="pair"), tag("p", note, class_="note"))


def _category_curves(run: Run) -> list[_CategoryCurves]:
    """Of the categories that have both kinds of image."""
    entries = []
    for name in run.predictions.category_names:
        rows = run.predictions.rows_of(name)
        scores, labels = run.predictions.scores[rows], run.predictions.labels[rows]
        roc, recall = roc_points(scores, labels), precision_recall_points(scores, labels)
        if roc is not None and recall is not None:
            area, precision = auroc(scores, labels), average_precision(scores, labels)
            entries.append(_CategoryCurves(name, roc, recall, area, precision))
    return entries


def _figure(caption: str, chart: Markup, css: str | None = None) -> Markup:
    return tag("figure", tag("figcaption", caption), chart, class_=css)


def _metrics_row(
    name: str,
    values: Mapping[str, float],
    intervals: Mapping[str, Interval],
    columns: list[str],
    counts: str,
    css: str | None = None,
) -> Markup:
    cells = [tag("th", name, scope="row"), tag("td", counts, class_="counts")]
    for metric in columns:
        value = values[metric]
        interval = intervals.get(metric)
        cells.append(
            tag(
                "td",
                format_fraction(value),
                tag("small", _range(interval)) if interval else None,
                class_="undefined" if math.isnan(value) else None,
                data_metric=metric,
                data_value="" if math.isnan(value) else repr(value),
            )
        )
    return tag("tr", *cells, class_=css)


def _images_head() -> Markup:
    return tag("th", "Images", tag("small", "normal / anomalous"), rowspan=2, scope="col")


def _counts(run: Run, category: str | None) -> str:
    labels = run.predictions.labels
    return _count(labels if category is None else labels[run.predictions.rows_of(category)])


def _domain_counts(run: Run, domain: str) -> str:
    names = [name for name, of in run.evaluation.domain_of.items() if of == domain]
    is_inside = np.isin(np.asarray(run.predictions.categories), names)
    return _count(run.predictions.labels[is_inside])


def _count(labels: NDArray[np.int64]) -> str:
    return f"{(labels == 0).sum():,} / {(labels == 1).sum():,}"


def _range(interval: Interval) -> str:
    return f"{format_fraction(interval.low)}\N{EN DASH}{format_fraction(interval.high)}"
