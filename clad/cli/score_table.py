"""The table that `clad score` prints: most anomalous first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clad.cli.predictions import NUM_WORDS
from clad.cli.standing import TITLES, standing_cells
from clad.explain.scored_image import ScoredImage
from clad.reports.tables import display_width

MOST_ROWS = 40
"""More rows than these are left to scores.csv."""

_NOTHING = "-"


def table(images: Sequence[ScoredImage], root: Path) -> str:
    """Columns of file, score, verdict, standing, hottest region, words; the last two of anomalies.

    Columns are left out where nothing stands in them. A score that no normal validation image
    reaches has ``<`` before its expected false alarms: those images cannot tell how few they are.

    Args:
        images: At least one.
        root: Folder that names are shown from.
    """
    shown = sorted(images, key=lambda image: -image.score)[:MOST_ROWS]
    has_verdicts = any(image.threshold is not None for image in images)
    standings = [name for name in TITLES if any(getattr(i, name) is not None for i in images)]
    has_regions = any(image.regions for image in images)
    has_words = any(image.words for image in images)
    rows = [["file", "score"]]
    rows[0] += ["verdict"] if has_verdicts else []
    rows[0] += [TITLES[name] for name in standings]
    rows[0] += ["top,left,bottom,right"] if has_regions else []
    rows[0] += ["words (similarity)"] if has_words else []
    for image in shown:
        path = Path(image.name)
        name = path.relative_to(root) if path.is_relative_to(root) else path
        row = [str(name), f"{image.score:.4g}"]
        row += [_verdict(image)] if has_verdicts else []
        cells = standing_cells(image.standing)
        row += [cells[name] for name in standings]
        row += [_region(image)] if has_regions else []
        row += [_words(image)] if has_words else []
        rows.append(row)
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_padded, row, widths)).rstrip() for row in rows]
    if len(images) > len(shown):
        lines.append(f"... and {len(images) - len(shown)} lower ones")
    return "\n".join(lines)


def _verdict(image: ScoredImage) -> str:
    if image.is_anomalous is None:
        return _NOTHING
    return "anomalous" if image.is_anomalous else "normal"


def _region(image: ScoredImage) -> str:
    if image.is_anomalous is False or not image.regions:
        return _NOTHING
    return ",".join(map(str, image.regions[0].box))


def _words(image: ScoredImage) -> str:
    if image.is_anomalous is False or not image.words:
        return _NOTHING
    words = (f"{each.defect_type} {each.similarity:.2f}" for each in image.words[:NUM_WORDS])
    return ", ".join(words)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - display_width(cell))
