"""How percentile, expected false alarms and probability of a score are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clad.metrics.score_calibration import Standing

if TYPE_CHECKING:
    from clad.detector import Detector

TITLES = {
    "percentile": "percentile",
    "false_alarms_per_1000": "alarms/1000",
    "probability": "probability",
}
"""Field of ``Standing`` -> head of its column."""

_NOTHING = "-"
_BELOW_ALL = 100.0


def source_lines(detector: Detector) -> list[str]:
    """Where the threshold comes from, and, unless nothing at all is known, the calibration."""
    lines = [f"threshold: {detector.threshold_source}"]
    fitted = detector.task.thresholds_fitted
    if fitted.values or fitted.calibrations:
        lines.append(f"calibration: {detector.calibration_source}")
    return lines


def standing_cells(standing: Standing) -> dict[str, str]:
    """Field -> short text; ``<`` before false alarms too few for the normal images to tell."""
    percentile, alarms, probability = standing
    cells = dict.fromkeys(TITLES, _NOTHING)
    if percentile is not None and alarms is not None:
        # 100.0 only where nothing is missing.
        shown = f"{percentile:.1f}"
        cells["percentile"] = "99.9" if percentile < _BELOW_ALL and shown == "100.0" else shown
        below = "<" if percentile == _BELOW_ALL else ""
        cells["false_alarms_per_1000"] = f"{below}{alarms:.3g}"
    if probability is not None:
        # 1.00 only where nothing is missing.
        shown = f"{probability:.2f}" if probability >= 0.01 else f"{probability:.1g}"
        cells["probability"] = "0.99" if probability < 1 and shown == "1.00" else shown
    return cells


def standing_phrase(standing: Standing, unit: str = "image") -> str:
    """The same in words, empty where nothing is known."""
    cells = standing_cells(standing)
    parts = []
    if standing.percentile is not None:
        alarms = cells["false_alarms_per_1000"]
        parts = [f"above {cells['percentile']} % of normal {unit}s", f"{alarms} false alarms/1000"]
    if standing.probability is not None:
        parts.append(f"probability {cells['probability']}")
    return ", ".join(parts)
