"""The part of a report that shows images: worst cases and best hits, map over image."""

from __future__ import annotations

import math
from pathlib import PurePath

import numpy as np

from clad.metrics.functional.auroc import auroc
from clad.reports.gallery import Gallery
from clad.reports.markup import Markup, join, tag
from clad.reports.overlay import jpeg_data_uri, legend_gradient, outline, overlay
from clad.reports.run_directory import Run
from clad.samples import GOOD

# Categories beyond the first ones start folded, so that a page of 15 stays readable.
_NUM_OPEN = 3


def gallery_section(run: Run) -> Markup:
    """Cards of the chosen images, category by category, the one with the lowest AUROC first."""
    gallery, predictions = run.gallery, run.predictions
    if gallery is None or not len(gallery):
        return tag("p", "This run directory keeps no images (gallery.npz).", class_="note")
    names = sorted(predictions.category_names, key=lambda name: _separation(run, name))
    of_image = np.asarray(predictions.categories)[gallery.picks.rows]
    blocks = []
    for position, name in enumerate(names):
        members = np.flatnonzero(of_image == name)
        if len(members):
            blocks.append(_category(run, gallery, name, members, is_open=position < _NUM_OPEN))
    return join(_scale_legend(gallery) if gallery.maps is not None else None, *blocks)


def _separation(run: Run, category: str) -> float:
    rows = run.predictions.rows_of(category)
    value = auroc(run.predictions.scores[rows], run.predictions.labels[rows])
    return 2.0 if math.isnan(value) else value


def _category(run: Run, gallery: Gallery, name: str, members: np.ndarray, is_open: bool) -> Markup:
    labels = run.predictions.labels[gallery.picks.rows[members]]
    is_hit = gallery.picks.is_hit[members]
    groups = (
        ("Lowest-scoring anomalous", members[~is_hit & (labels == 1)]),
        ("Highest-scoring normal", members[~is_hit & (labels == 0)]),
        ("Best hits", members[is_hit]),
    )
    content = [
        join(
            tag("h4", title),
            tag("div", *(_card(run, gallery, int(member)) for member in chosen), class_="cards"),
        )
        for title, chosen in groups
        if len(chosen)
    ]
    return tag(
        "details", tag("summary", name), *content, class_="category", open="" if is_open else None
    )


def _card(run: Run, gallery: Gallery, member: int) -> Markup:
    predictions, row = run.predictions, int(gallery.picks.rows[member])
    image, mask = gallery.images[member], gallery.masks[member]
    is_marked = bool(gallery.has_mask[member] and mask.any())
    file_name = PurePath(predictions.paths[row]).name
    pictures = [_picture(outline(image, mask) if is_marked else image, f"{file_name}, image")]
    if gallery.maps is not None:
        heat = overlay(image, gallery.maps[member])
        heat = outline(heat, mask) if is_marked else heat
        pictures.append(_picture(heat, f"{file_name}, anomaly map"))
    defect = predictions.defect_types[row]
    is_anomalous = predictions.labels[row] == 1
    truth = (
        defect if is_anomalous and defect != GOOD else ("anomalous" if is_anomalous else "normal")
    )
    score, threshold = float(predictions.scores[row]), float(predictions.thresholds[row])
    caption = [_badge(score, threshold, bool(is_anomalous)), tag("b", f"{score:.4g}")]
    if not math.isnan(threshold):
        caption.append(tag("span", f"threshold {threshold:.4g}", class_="quiet"))
    name = tag("span", file_name, title=predictions.paths[row])
    return tag(
        "figure",
        tag("div", *pictures, class_=f"tiles{len(pictures)}"),
        tag(
            "figcaption",
            tag("div", *caption, class_="line"),
            tag("div", truth, " · ", name, class_="file"),
        ),
        class_="card",
    )


def _badge(score: float, threshold: float, is_anomalous: bool) -> Markup | None:
    if math.isnan(threshold):
        return None
    called = score >= threshold
    if called == is_anomalous:
        return tag("span", "found" if called else "passed", class_="badge right")
    return tag("span", "false alarm" if called else "missed", class_="badge wrong")


def _picture(image: np.ndarray, text: str) -> Markup:
    height, width = image.shape[:2]
    source = jpeg_data_uri(image)
    # Focus, by click or by key, enlarges it.
    return tag("img", src=source, alt=text, width=width, height=height, tabindex=0)


def _scale_legend(gallery: Gallery) -> Markup:
    low, high = gallery.map_low, gallery.map_high
    ends = (f"{low:.3g}", f"{(low + high) / 2:.3g}", f"{high:.3g}")
    bar = tag("div", class_="ramp", style=f"background:{legend_gradient()}")
    text = (
        "One colour scale for the whole run, in raw map values. Warm colours begin at the value "
        "that as many images reach as are called anomalous. The cyan line surrounds the true "
        "mask. Click an image to enlarge it."
    )
    return tag(
        "div",
        tag("div", bar, tag("div", *(tag("span", end) for end in ends), class_="ends")),
        tag("p", text, class_="note"),
        class_="scale",
    )
