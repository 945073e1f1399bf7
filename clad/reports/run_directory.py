"""The files of a run directory, written whole or not at all, and read back with clear errors.

======================  =========================================================================
``config.yaml``         the resolved configuration, written by the command line
``run.json``            how the run came about (``clad.reports.run_card``) and its thresholds
``data.json``           the data's fingerprint (``clad.data.fingerprint``)
``metrics.json``        ``{"test": {"mean", "per_category", "undefined", "left_out"}}``; with
                        several domains ``per_domain`` and ``domain_of``, too; of faces
                        ``per_manipulation``, ``families``, ``counts``
``predictions.parquet`` one row per test image
``gallery.npz``         small copies of the images that a report shows
======================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clad.metrics.calibrated import STANDINGS, standing_columns
from clad.metrics.collector import CollectedPredictions
from clad.metrics.evaluate import Evaluation
from clad.metrics.score_calibration import Calibration, describe_calibrations
from clad.reports.files import read_json, write_atomically, write_json
from clad.reports.gallery import Gallery, LoadImage, Picks, build_gallery, thresholds_of_images
from clad.samples import Origin

CONFIG, CARD, DATA = "config.yaml", "run.json", "data.json"
METRICS, PREDICTIONS, GALLERY = "metrics.json", "predictions.parquet", "gallery.npz"
_PART = "part_"
_COLUMNS = ("path", "category", "defect_type", "label", "score", "threshold")
_ORIGIN, _GROUP = {"frame", "video", "has_face"}, "group"


@dataclass(frozen=True)
class PredictionTable:
    """One row per test image.

    Args:
        paths: N file names.
        categories: N names.
        defect_types: N names.
        labels: (N,) int64.
        scores: (N,) float64, raw.
        thresholds: (N,) float64, NaN where there is none.
        parts: Named (N,) float64.
        origins: N frames and videos; empty where none is known.
        groups: N persons, videos or the like; empty where none is known.
        standings: ``percentile``, ``false_alarms_per_1000``, ``probability`` -> (N,) float64, NaN
            where unknown; those that are known of some image.
    """

    paths: tuple[str, ...]
    categories: tuple[str, ...]
    defect_types: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    parts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    origins: tuple[Origin | None, ...] = ()
    groups: tuple[str | None, ...] = ()
    standings: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Each category once, in the order of first appearance."""
        return tuple(dict.fromkeys(self.categories))

    def rows_of(self, category: str) -> NDArray[np.int64]:
        """Positions of the images of a category."""
        return np.flatnonzero(np.asarray(self.categories) == category)


@dataclass(frozen=True)
class Run:
    """What a run directory holds; ``config``, ``data`` and ``gallery`` are None if absent."""

    path: Path
    card: dict[str, Any]
    evaluation: Evaluation
    predictions: PredictionTable
    config: str | None
    data: dict[str, Any] | None
    gallery: Gallery | None


def write_test_results(
    run_dir: Path,
    collected: CollectedPredictions,
    evaluation: Evaluation,
    *,
    thresholds: Mapping[str, float] | None,
    threshold_source: str,
    card: Mapping[str, Any],
    data: Mapping[str, Any],
    load_image: LoadImage,
    calibrations: Mapping[str, Calibration] | None = None,
) -> None:
    """Write everything of a run directory but ``config.yaml``.

    Args:
        run_dir: Created if missing; results of an earlier test are replaced.
        collected: Predictions of all test images.
        evaluation: Their metrics.
        thresholds: Category name -> threshold on raw scores, or None.
        threshold_source: What the thresholds were fitted on, in words.
        card: From ``run_card``.
        data: From ``clad.data.fingerprint``.
        load_image: (path, (height, width)) -> uint8 RGB, for the gallery.
        calibrations: Category name -> what validation says about its scores.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    fitted = None if thresholds is None else {k: float(v) for k, v in thresholds.items()}
    known = calibrations or {}
    threshold = {
        "threshold": fitted,
        "threshold_source": threshold_source,
        "calibration_source": describe_calibrations(known),
    }
    write_json(run_dir / CARD, {**card, **threshold})
    write_json(run_dir / DATA, data)
    standings = standing_columns(collected.scores, collected.categories, known)
    _write_predictions(run_dir / PREDICTIONS, collected, thresholds, standings)
    _write_gallery(run_dir / GALLERY, build_gallery(collected, thresholds, load_image))
    # Last: whoever sees the metrics finds the rest.
    path = run_dir / METRICS
    others = read_json(path) if path.exists() else {}
    write_json(path, {**others, "test": evaluation.to_json()})


def read_run(run_dir: Path) -> Run:
    """Everything that a report needs.

    Raises:
        FileNotFoundError: If the folder, or one of ``metrics.json``, ``run.json`` and
            ``predictions.parquet``, is not there.
        ValueError: If a file cannot be read or the files do not belong together.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(
            f"expected a run directory at {run_dir}, found none; check the path"
        )
    for name in (METRICS, CARD, PREDICTIONS):
        if not (run_dir / name).is_file():
            raise FileNotFoundError(f"expected {name} in {run_dir}; run `clad test` first")
    metrics = read_json(run_dir / METRICS)
    if "test" not in metrics:
        raise ValueError(
            f"expected the key `test` in {run_dir / METRICS}, got {sorted(metrics)}; "
            "run `clad test` first"
        )
    evaluation = Evaluation.from_json(metrics["test"])
    predictions = _read_predictions(run_dir / PREDICTIONS)
    if set(evaluation.per_category) != set(predictions.category_names):
        raise ValueError(
            f"expected one set of categories in {run_dir}, got {sorted(evaluation.per_category)} "
            f"in {METRICS} and {sorted(predictions.category_names)} in {PREDICTIONS}; "
            "run `clad test` again"
        )
    config, data = run_dir / CONFIG, run_dir / DATA
    return Run(
        path=run_dir,
        card=read_json(run_dir / CARD),
        evaluation=evaluation,
        predictions=predictions,
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        data=read_json(data) if data.is_file() else None,
        gallery=_read_gallery(run_dir / GALLERY, len(predictions.paths)),
    )


def _write_predictions(
    path: Path,
    collected: CollectedPredictions,
    thresholds: Mapping[str, float] | None,
    standings: Mapping[str, NDArray[np.float64]],
) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {
        "path": list(collected.paths),
        "category": list(collected.categories),
        "defect_type": list(collected.defect_types),
        "label": collected.labels,
        "score": collected.scores,
        "threshold": thresholds_of_images(collected.categories, thresholds),
        **{_PART + name: values for name, values in collected.parts.items()},
        **standings,
        **_origin_columns(collected.origins, collected.groups),
    }
    table = pyarrow.table(columns)
    write_atomically(path, lambda temporary: parquet.write_table(table, temporary))


def _read_predictions(path: Path) -> PredictionTable:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"expected Parquet in {path}, got {error}; run `clad test` again"
        ) from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(
            f"expected the columns {list(_COLUMNS)} in {path}, missing are {missing}; "
            "run `clad test` again"
        )

    known = set(table.column_names)

    def numbers(name: str, dtype: type) -> NDArray:
        return table[name].to_numpy().astype(dtype)

    return PredictionTable(
        paths=tuple(table["path"].to_pylist()),
        categories=tuple(table["category"].to_pylist()),
        defect_types=tuple(table["defect_type"].to_pylist()),
        labels=numbers("label", np.int64),
        scores=numbers("score", np.float64),
        thresholds=numbers("threshold", np.float64),
        parts={
            name.removeprefix(_PART): numbers(name, np.float64)
            for name in table.column_names
            if name.startswith(_PART)
        },
        origins=_read_origins({name: table[name].to_pylist() for name in _ORIGIN & known}),
        groups=tuple(table[_GROUP].to_pylist()) if _GROUP in known else (),
        standings={name: numbers(name, np.float64) for name in STANDINGS if name in known},
    )


def _origin_columns(
    origins: Sequence[Origin | None], groups: Sequence[str | None]
) -> dict[str, list[Any]]:
    """Columns of what is known of any image; null where it is unknown."""
    columns: dict[str, list[Any]] = {}
    if any(origins):
        for name in sorted(_ORIGIN):
            columns[name] = [None if each is None else getattr(each, name) for each in origins]
    if any(group is not None for group in groups):
        columns[_GROUP] = list(groups)
    return columns


def _read_origins(columns: Mapping[str, list[Any]]) -> tuple[Origin | None, ...]:
    if set(columns) != _ORIGIN:
        return ()
    rows = zip(columns["frame"], columns["video"], columns["has_face"], strict=True)
    return tuple(None if row[0] is None else Origin(*row) for row in rows)


def _write_gallery(path: Path, gallery: Gallery) -> None:
    arrays: dict[str, Any] = {
        "rows": gallery.picks.rows,
        "is_hit": gallery.picks.is_hit,
        "images": gallery.images,
        "masks": gallery.masks,
        "has_mask": gallery.has_mask,
        "map_low": np.array(gallery.map_low),
        "map_high": np.array(gallery.map_high),
    }
    if gallery.maps is not None:
        arrays["maps"] = gallery.maps
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _read_gallery(path: Path, num_predictions: int) -> Gallery | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        rows = stored["rows"]
        if len(rows) and rows.max() >= num_predictions:
            raise ValueError(
                f"expected rows below {num_predictions} in {path}, got {rows.max()}; "
                "it belongs to another test: run `clad test` again"
            )
        return Gallery(
            picks=Picks(rows, stored["is_hit"]),
            images=stored["images"],
            has_mask=stored["has_mask"],
            masks=stored["masks"],
            maps=stored.get("maps"),
            map_low=float(stored["map_low"]),
            map_high=float(stored["map_high"]),
        )
