"""What `clad test` and `clad validate` print of thresholds and probabilities below their table."""

from __future__ import annotations

import math

from clad.metrics.calibrated import BRIER, ECE
from clad.metrics.evaluation import Evaluation
from clad.metrics.one_threshold import ACCURACY, ORACLE
from clad.reports.tables import format_fraction
from clad.tasks.calibration import Thresholds


def calibration_lines(evaluation: Evaluation, fitted: Thresholds) -> list[str]:
    """Lines on what rests on validation, and on what only an oracle reaches.

    Args:
        evaluation: Of test or validation images.
        fitted: What the training left.
    """
    lines = [f"calibration: {fitted.calibration_source}"]
    brier, error, accuracy, oracle = (
        evaluation.mean.get(name, math.nan) for name in (BRIER, ECE, ACCURACY, ORACLE)
    )
    if not math.isnan(brier):
        lines.append(
            f"probability: mean Brier score {brier:.3f}, mean calibration error {error:.3f}"
        )
    if not math.isnan(oracle):
        own = "" if math.isnan(accuracy) else f"mean accuracy {format_fraction(accuracy)}, "
        lines.append(
            f"one threshold for all categories: {own}oracle (best on these images) "
            f"{format_fraction(oracle)}"
        )
    if not math.isnan(evaluation.mean.get("image_f1_max", math.nan)):
        lines.append(
            "oracle: F1-max is at the best threshold on these very images; no verdict uses it"
        )
    return lines
