"""What ``clad.metrics.evaluate`` finds, with its way to JSON and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clad.metrics.settings import STANDARD, MetricSettings

Values = dict[str, float]
Reasons = dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Metrics as fractions in [0, 1]; NaN where undefined.

    Args:
        per_category: Category name -> metric name -> value.
        mean: Metric name -> mean over the categories where it is defined (macro mean).
        undefined: One sentence per category and reason: ``pixel_auroc of mono: no masks``.
        left_out: Metric name -> number of categories that have the metric but not its value.
        per_domain: Domain -> metric name -> mean over its categories; empty where all categories
            are of one domain.
        domain_of: Category name -> domain; empty where ``per_domain`` is.
        per_manipulation: Of faces: category name -> kind of forgery -> metric name -> value, each
            kind against all real images of its category.
        families: Family of generators -> metric name -> mean over its generators; empty where no
            generator is known by name.
        family_of: Generator -> family; empty where ``families`` is.
        counts: Of faces with a known origin: category name -> number of ``images`` (crops),
            ``frames``, ``videos``, and of frames with ``no_face``.
        settings: Choices that the numbers follow.
    """

    per_category: dict[str, Values]
    mean: Values
    undefined: tuple[str, ...]
    left_out: dict[str, int]
    per_domain: dict[str, Values] = field(default_factory=dict)
    domain_of: dict[str, str] = field(default_factory=dict)
    per_manipulation: dict[str, dict[str, Values]] = field(default_factory=dict)
    families: dict[str, Values] = field(default_factory=dict)
    family_of: dict[str, str] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    settings: MetricSettings = STANDARD

    def with_metrics(
        self, per_category: Mapping[str, Values], undefined: Iterable[str] = ()
    ) -> Evaluation:
        """The same with more metrics, and their means over all and per domain.

        Args:
            per_category: Category name -> new metric -> value, of categories that have it.
            undefined: Sentences about new ones that are NaN.
        """
        mean, left_out = macro_mean(per_category.values())
        domains = {
            domain: macro_mean(
                row for name, row in per_category.items() if self.domain_of.get(name) == domain
            )[0]
            for domain in self.per_domain
        }
        return replace(
            self,
            per_category={
                name: {**row, **per_category.get(name, {})}
                for name, row in self.per_category.items()
            },
            mean={**self.mean, **mean},
            left_out={**self.left_out, **left_out},
            undefined=(*self.undefined, *undefined),
            per_domain={name: {**row, **domains[name]} for name, row in self.per_domain.items()},
        )

    def to_json(self) -> dict[str, object]:
        """Plain values for ``json.dumps``; NaN becomes None (null), what is empty is left out."""
        optional: dict[str, object] = {
            "per_domain": _table(self.per_domain),
            "domain_of": self.domain_of,
            "per_manipulation": {n: _table(rows) for n, rows in self.per_manipulation.items()},
            "families": _table(self.families),
            "family_of": self.family_of,
            "counts": self.counts,
            "settings": asdict(self.settings) if self.counts else None,
        }
        return {
            "mean": _without_nan(self.mean),
            "per_category": _table(self.per_category),
            "undefined": list(self.undefined),
            "left_out": self.left_out,
            **{name: value for name, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, stored: Mapping) -> Evaluation:
        """The evaluation that ``to_json`` wrote; None becomes NaN."""
        manipulations = stored.get("per_manipulation", {})
        return cls(
            per_category=_read_table(stored["per_category"]),
            mean=_with_nan(stored["mean"]),
            undefined=tuple(stored.get("undefined", ())),
            left_out=dict(stored.get("left_out", {})),
            per_domain=_read_table(stored.get("per_domain", {})),
            domain_of=dict(stored.get("domain_of", {})),
            per_manipulation={name: _read_table(rows) for name, rows in manipulations.items()},
            families=_read_table(stored.get("families", {})),
            family_of=dict(stored.get("family_of", {})),
            counts={name: dict(row) for name, row in stored.get("counts", {}).items()},
            settings=_read_settings(stored.get("settings", {})),
        )


def macro_mean(rows: Iterable[Mapping[str, float]]) -> tuple[Values, dict[str, int]]:
    """Mean of each metric over the rows where it is defined, and how many have it undefined."""
    table = list(rows)
    mean: Values = {}
    left_out: dict[str, int] = {}
    for metric in dict.fromkeys(metric for row in table for metric in row):
        column = [row[metric] for row in table if metric in row]
        defined = [value for value in column if not math.isnan(value)]
        mean[metric] = math.fsum(defined) / len(defined) if defined else math.nan
        left_out[metric] = len(column) - len(defined)
    return mean, left_out


def _read_settings(stored: Mapping[str, Any]) -> MetricSettings:
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return replace(STANDARD, **{**stored, **lists})


def _table(rows: Mapping[str, Values]) -> dict[str, dict[str, float | None]]:
    return {name: _without_nan(row) for name, row in rows.items()}


def _read_table(rows: Mapping[str, Mapping[str, float | None]]) -> dict[str, Values]:
    return {name: _with_nan(row) for name, row in rows.items()}


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _with_nan(values: Mapping[str, float | None]) -> Values:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
