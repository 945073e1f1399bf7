"""What files give away: the label predicted from formats and sizes, copies, and shared groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.data.file_facts import FileFacts
from clad.metrics.bootstrap import Interval
from clad.metrics.functional.auroc import auroc

LIMIT = 0.6
"""AUROC above which files are said to give the label away."""

TOGETHER, WITHOUT_BYTES = "all together", "all but bytes"
OF_CONTENT = ("bytes", "bytes per pixel")
"""Facts that what a picture shows can change, too: smooth pictures compress well."""

CHANCE = 0.5

Column = NDArray[np.float64]

_FACTS: dict[str, Callable[[FileFacts], float | str]] = {
    "suffix": lambda file: file.suffix,
    "format": lambda file: file.format,
    "colour mode": lambda file: file.mode,
    "chroma subsampling": lambda file: file.chroma,
    "jpeg quality": lambda file: file.jpeg_quality,
    "progressive": lambda file: float(file.is_progressive),
    "exif": lambda file: float(file.has_exif),
    "width": lambda file: float(file.width),
    "height": lambda file: float(file.height),
    "bytes": lambda file: float(file.num_bytes),
    "bytes per pixel": lambda file: file.bytes_per_pixel,
}
_NUM_FOLDS, _NUM_TREES, _DEPTH, _RATE = 5, 30, 3, 0.2
_NUM_RESAMPLES, _CONFIDENCE = 500, 0.95


@dataclass(frozen=True)
class FactScore:
    """How well a fact tells labels apart.

    Args:
        name: Of the fact.
        auroc: Of predictions for files that were not learnt from; 0.5 where all files are alike,
            NaN where undefined.
        interval: 95 % bootstrap interval over files, or over groups where there are some.
    """

    name: str
    auroc: float
    interval: Interval

    @property
    def is_telling(self) -> bool:
        """Whether it is above the limit, and chance is not inside the interval."""
        return self.auroc > LIMIT and self.interval.low > CHANCE


@dataclass(frozen=True)
class FactScores:
    """All facts.

    Args:
        facts: One by one.
        without_bytes: All that what is shown cannot change.
        together: All of them at once.
        undefined: Why nothing has a value; None if it has.
    """

    facts: tuple[FactScore, ...]
    without_bytes: FactScore
    together: FactScore
    undefined: str | None = None

    @property
    def gives_away(self) -> bool:
        """Whether the label can be told from the files."""
        return self.together.auroc > LIMIT or any(each.is_telling for each in self.facts)

    @property
    def is_by_content(self) -> bool:
        """Whether only lengths tell, so that what is shown may be the reason."""
        names = {each.name for each in self.telling}
        return self.gives_away and self.without_bytes.auroc <= LIMIT and names <= set(OF_CONTENT)

    @property
    def telling(self) -> tuple[FactScore, ...]:
        """Facts that tell the label alone, the best first; the best one if it takes several."""
        falling = sorted(self.facts, key=lambda each: -each.auroc)
        return tuple(each for each in falling if each.is_telling) or tuple(falling[:1])


def score_facts(
    files: Sequence[FileFacts], labels: Sequence[int], units: Sequence[str], seed: int = 0
) -> FactScores:
    """How well labels are predicted from each fact, and from all of them.

    A small gradient boosting learns from four fifths of the units and predicts the fifth, in turns,
    so that nothing is predicted that was learnt from; classes count alike.

    Args:
        files: Facts of N files.
        labels: N labels, 1 fake.
        units: N names; files of one unit (a video, a person) are never torn apart.
        seed: Of the folds and the resamples.
    """
    truth, unit = np.asarray(labels), np.asarray(units)
    reason = _undefined(truth, unit)
    if reason is not None:
        nothing = Interval(math.nan, math.nan)
        scores = tuple(FactScore(name, math.nan, nothing) for name in _FACTS)
        without = FactScore(WITHOUT_BYTES, math.nan, nothing)
        return FactScores(scores, without, FactScore(TOGETHER, math.nan, nothing), reason)
    table = np.column_stack([_column([fact(file) for file in files]) for fact in _FACTS.values()])
    scored = [
        _score(name, table[:, [number]], truth, unit, seed) for number, name in enumerate(_FACTS)
    ]
    kept = [number for number, name in enumerate(_FACTS) if name not in OF_CONTENT]
    without = _score(WITHOUT_BYTES, table[:, kept], truth, unit, seed)
    return FactScores(tuple(scored), without, _score(TOGETHER, table, truth, unit, seed))


def predict_out_of_fold(
    table: NDArray[np.float64], labels: NDArray, units: NDArray, seed: int
) -> NDArray[np.float64]:
    """(N,) log-odds of label 1, each by a model that saw no file of the same unit.

    Args:
        table: (N, F) float64; NaN counts as a value of its own.
        labels: (N,) 0 and 1.
        units: (N,) names.
        seed: Of the folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(set(units[labels == label])) for label in (0, 1))
    folds = StratifiedGroupKFold(min(_NUM_FOLDS, fewest), shuffle=True, random_state=seed)
    found = np.zeros(len(labels))
    for learn, ask in folds.split(table, labels, units):
        if len(set(labels[learn])) < 2:
            continue  # nothing to learn: log-odds of these stay 0
        model = HistGradientBoostingClassifier(
            max_iter=_NUM_TREES,
            max_depth=_DEPTH,
            learning_rate=_RATE,
            min_samples_leaf=int(np.clip(len(learn) // 20, 2, 20)),
            early_stopping=False,
            class_weight="balanced",
            random_state=seed,
        )
        found[ask] = model.fit(table[learn], labels[learn]).decision_function(table[ask])
    return np.round(found, 9)  # what differs by rounding alone is a tie


def bootstrap_by_unit(
    scores: NDArray[np.float64], labels: NDArray, units: NDArray, seed: int
) -> Interval:
    """Percentile interval of AUROC where whole units are drawn, with replacement."""
    rng = np.random.default_rng(seed)
    names, number, sizes = np.unique(units, return_inverse=True, return_counts=True)
    rows_of = np.split(np.argsort(number, kind="stable"), np.cumsum(sizes)[:-1])
    values = []
    for _ in range(_NUM_RESAMPLES):
        drawn = np.concatenate([rows_of[n] for n in rng.integers(len(names), size=len(names))])
        values.append(auroc(scores[drawn], labels[drawn]))
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.nanpercentile(values, (tail, 100 - tail))
    return Interval(float(low), float(high))


def _score(
    name: str, table: NDArray[np.float64], labels: NDArray, units: NDArray, seed: int
) -> FactScore:
    varying = [n for n in range(table.shape[1]) if len(np.unique(table[:, n])) > 1]
    if not varying:
        return FactScore(name, CHANCE, Interval(CHANCE, CHANCE))
    scores = predict_out_of_fold(table[:, varying], labels, units, seed)
    interval = bootstrap_by_unit(scores, labels, units, seed)
    return FactScore(name, auroc(scores, labels), interval)


def _column(values: Sequence[float | str]) -> Column:
    """Numbers; names become their place in the alphabet."""
    place: Mapping[str, int] = {
        name: n for n, name in enumerate(sorted({v for v in values if isinstance(v, str)}))
    }
    return np.array([place[v] if isinstance(v, str) else v for v in values], dtype=np.float64)


def _undefined(labels: NDArray, units: NDArray) -> str | None:
    for label, name in ((0, "real"), (1, "fake")):
        own = set(units[labels == label])
        if not own:
            return f"no {name} image"
        if len(own) < 2:
            return f"all {name} images are of one group"
    return None
