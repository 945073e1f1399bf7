"""Fewer good images, and a handful of labelled defects, than a source would give."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from clad.checks import expect_range
from clad.data.splits import unit_of
from clad.samples import Sample, Splits

_T = TypeVar("_T")

_SHOTS, _ANOMALIES = 1, 2
"""Streams of the two drawings, so that one never changes the other."""


@dataclass(frozen=True)
class Few:
    """What is taken from the splits of a source, the same for the same seed.

    Args:
        shots: Normal training images kept per category; None keeps all.
        anomalies_per_type: Test anomalies of each category and defect type that move to train,
            with their masks.
        reserved_per_type: Test anomalies per type that leave the test, used or not; None takes
            ``anomalies_per_type``.

    Raises:
        ValueError: If a number is out of range, or fewer are reserved than used.
    """

    shots: int | None = None
    anomalies_per_type: int = 0
    reserved_per_type: int | None = None

    def __post_init__(self) -> None:
        if self.shots is not None:
            expect_range("shots", self.shots, 1, float("inf"))
        expect_range("anomalies_per_type", self.anomalies_per_type, 0, float("inf"))
        if self.num_reserved < self.anomalies_per_type:
            raise ValueError(
                f"expected reserved_per_type of at least anomalies_per_type = "
                f"{self.anomalies_per_type}, got {self.reserved_per_type}; raise it, or leave it "
                "out"
            )

    @property
    def num_reserved(self) -> int:
        """Anomalies of each type that leave the test."""
        if self.reserved_per_type is None:
            return self.anomalies_per_type
        return self.reserved_per_type

    def apply(self, splits: Splits, seed: int) -> Splits:
        """The splits with few shots and few anomalies, and a note on each.

        Choices are nested: with one seed, 5 shots or anomalies hold those of 1, and tests with the
        same ``reserved_per_type`` are the same whatever ``anomalies_per_type`` is.

        Raises:
            ValueError: If a category has fewer normal images than ``shots``, a defect type would
                not be tested any more, or anomalies are asked for of a category that is not
                trained on.
        """
        if self.num_reserved:
            splits = self._move_anomalies(splits, seed)
        if self.shots is not None:
            splits = self._keep_shots(splits, self.shots, seed)
        return splits

    def _move_anomalies(self, splits: Splits, seed: int) -> Splits:
        by_type: dict[tuple[str, str], list[Sample]] = {}
        for sample in splits.test:
            if sample.label == 1:
                by_type.setdefault((sample.category, sample.defect_type), []).append(sample)
        _expect_trained(by_type, splits.train)
        used: set[str] = set()
        reserved: set[str] = set()
        for (category, defect), samples in by_type.items():
            units = list(dict.fromkeys(map(unit_of, samples)))
            if len(units) <= self.num_reserved:
                raise ValueError(
                    f"expected more than reserved_per_type = {self.num_reserved} test anomalies of "
                    f"type {defect} of {category}, so that some are left for test, got "
                    f"{len(units)}; reserve fewer"
                )
            order = _shuffled(units, (seed, _ANOMALIES, _number(category), _number(defect)))
            reserved |= set(order[: self.num_reserved])
            used |= set(order[: self.anomalies_per_type])
        moved = tuple(s for s in splits.test if s.label == 1 and unit_of(s) in used)
        test = tuple(s for s in splits.test if unit_of(s) not in reserved)
        note = (
            f"Few anomalies: {len(moved)} test anomalies ({self.anomalies_per_type} of each of "
            f"{len(by_type)} defect types) moved to train, {len(splits.test) - len(test)} test "
            "images reserved."
        )
        before = sum(s.label for s in splits.train)
        if before:
            note += f" Train already held {before} anomalous images."
        return Splits((*splits.train, *moved), splits.validation, test, (*splits.notes, note))

    def _keep_shots(self, splits: Splits, shots: int, seed: int) -> Splits:
        by_category: dict[str, list[Sample]] = {}
        for sample in splits.train:
            if sample.label == 0:
                by_category.setdefault(sample.category, []).append(sample)
        kept: set[Sample] = set()
        for category, samples in by_category.items():
            if len(samples) < shots:
                raise ValueError(
                    f"expected at least shots = {shots} normal training images of {category}, got "
                    f"{len(samples)}; ask for fewer"
                )
            kept |= set(_shuffled(samples, (seed, _SHOTS, _number(category)))[:shots])
        train = tuple(s for s in splits.train if s.label == 1 or s in kept)
        note = (
            f"Few shots: {shots} normal training images per category, chosen by seed {seed}; the "
            f"{len(splits.validation)} validation images are left out, too, because whoever has "
            f"{shots} images has no others."
        )
        return Splits(train, (), splits.test, (*splits.notes, note))


def _expect_trained(by_type: dict[tuple[str, str], list[Sample]], train: Sequence[Sample]) -> None:
    if not by_type:
        raise ValueError(
            "expected test anomalies to move to train, got none; leave anomalies_per_type and "
            "reserved_per_type out"
        )
    foreign = sorted({category for category, _ in by_type} - {s.category for s in train})
    if foreign:
        raise ValueError(
            f"expected training images of every category whose anomalies are to be learnt, got "
            f"none of {', '.join(foreign)}; leave anomalies_per_type and reserved_per_type out"
        )


def _shuffled(items: Sequence[_T], seed: tuple[int, ...]) -> list[_T]:
    """Items in an order drawn from the seed."""
    return [items[i] for i in np.random.default_rng(seed).permutation(len(items))]


def _number(name: str) -> int:
    return zlib.crc32(name.encode())
