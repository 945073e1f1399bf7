"""Splits that share nothing: seeded, by group, with the same share of each category and label."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from clad.checks import expect_range
from clad.samples import Sample, Splits

Samples = tuple[Sample, ...]
_ROLES = ("train", "validation", "test")


def partition(samples: Sequence[Sample], fractions: Sequence[float], seed: int) -> list[Samples]:
    """Disjoint parts, one per fraction, each in the order of ``samples``.

    Each (category, label) is split on its own with its own random stream, so a category's split
    does not change when other categories join. Samples of one group stay together; fractions
    count groups, and every part with a fraction above 0 gets one if there are enough.

    Args:
        samples: What to split.
        fractions: Share of each part; at least 0, summing to 1.
        seed: Decides who goes where.

    Raises:
        ValueError: If a fraction is negative or they do not sum to 1.
    """
    for fraction in fractions:
        expect_range("fraction", fraction, 0, 1)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"expected fractions that sum to 1, got {tuple(fractions)}")
    return _split_units(samples, len(fractions), seed, lambda n: _share(n, fractions))


def carve_validation(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[Samples, Samples]:
    """(train, validation): normal samples held out, at least one of each category left in train.

    Anomalous samples stay in train, unless they share a group with a held-out normal one: a group
    moves as a whole.

    Args:
        samples: Training samples.
        fraction: Share held out, in [0, 0.9]; 0 holds out none, otherwise at least one per
            category that has two groups.
        seed: Decides who goes where.

    Raises:
        ValueError: If ``fraction`` is outside its range.
    """
    expect_range("validation_fraction", fraction, 0, 0.9)
    normal = [s for s in samples if s.label == 0]
    held_out = {unit_of(s) for s in partition(normal, (1 - fraction, fraction), seed)[1]}
    train = tuple(s for s in samples if unit_of(s) not in held_out)
    return train, tuple(s for s in samples if unit_of(s) in held_out)


def take(
    samples: Sequence[Sample], counts: Sequence[int], seed: int, scale_down: bool = False
) -> list[Samples]:
    """Parts of ``counts`` groups each per (category, label), and last the rest, never empty.

    Args:
        samples: What to split.
        counts: Groups per part, at least 0.
        seed: Decides who goes where.
        scale_down: Whether a category with too few groups is shared out in proportion
            of ``counts``, a fifth kept as the rest, instead of refused.

    Raises:
        ValueError: If a count is negative, or a category has too few groups.
    """
    for number in counts:
        expect_range("number of images", number, 0, float("inf"))
    shares = [0.8 * number / max(sum(counts), 1) for number in counts]

    def sizes(num_units: int) -> list[int]:
        if sum(counts) < num_units:
            return [*counts, num_units - sum(counts)]
        if scale_down:
            return _share(num_units, [*shares, 1 - sum(shares)])
        raise ValueError(
            f"expected more than {' + '.join(map(str, counts))} images so that some are left for "
            f"test, got {num_units}; ask for fewer"
        )

    return _split_units(samples, len(counts) + 1, seed, sizes)


def check_disjoint(splits: Splits) -> None:
    """Refuse splits in which two roles share a file or a group.

    Raises:
        ValueError: With the roles, an example and how many there are.
    """
    files = {role: _by_file(getattr(splits, role)) for role in _ROLES}
    groups = {role: _by_group(getattr(splits, role)) for role in _ROLES}
    for first, second in combinations(_ROLES, 2):
        for what, index in (("file", files), ("group", groups)):
            common = sorted(index[first].keys() & index[second].keys())
            if common:
                sample = index[second][common[0]]
                raise ValueError(
                    f"expected disjoint roles, got {len(common)} {what}(s) in both {first} and "
                    f"{second}, e.g. {what} {common[0]} ({sample.image_path}); "
                    "remove the copies or split by group"
                )


def count_by(samples: Iterable[Sample], key: Callable[[Sample], str]) -> dict[str, int]:
    """Number of samples per key, sorted by key."""
    return dict(sorted(Counter(map(key, samples)).items()))


def describe_counts(splits: Splits) -> str:
    """One sentence: normal and anomalous images per role."""
    parts = []
    for role in _ROLES:
        counts = Counter(s.label for s in getattr(splits, role))
        parts.append(f"{role} {counts[0]} normal + {counts[1]} anomalous")
    return ", ".join(parts)


def _by_file(samples: Samples) -> Mapping[str, Sample]:
    return {str(s.image_path.resolve()): s for s in samples}


def _by_group(samples: Samples) -> Mapping[str, Sample]:
    return {s.group: s for s in samples if s.group is not None}


def _split_units(
    samples: Sequence[Sample], num_parts: int, seed: int, sizes: Callable[[int], Sequence[int]]
) -> list[Samples]:
    """Shuffle the groups of each (category, label) and cut them into ``sizes(number)`` parts."""
    units: dict[str, list[Sample]] = {}
    for sample in samples:
        units.setdefault(unit_of(sample), []).append(sample)
    strata: dict[tuple[str, int], list[str]] = {}
    for name, members in units.items():
        stratum = (members[0].category, max(s.label for s in members))
        strata.setdefault(stratum, []).append(name)
    part_of: dict[str, int] = {}
    for (category, label), names in strata.items():
        rng = np.random.default_rng((seed, zlib.crc32(category.encode()), label))
        bounds = np.cumsum(sizes(len(names)))
        for position, index in enumerate(rng.permutation(len(names))):
            part_of[names[index]] = int(np.searchsorted(bounds, position, side="right"))
    parts: list[list[Sample]] = [[] for _ in range(num_parts)]
    for sample in samples:
        parts[part_of[unit_of(sample)]].append(sample)
    return [tuple(part) for part in parts]


def unit_of(sample: Sample) -> str:
    """What a split may not tear apart: its group, or the file alone."""
    return f"file {sample.image_path}" if sample.group is None else f"group {sample.group}"


def _share(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near ``total * fractions`` that sum to ``total``.

    No part with a fraction above 0 is empty while another has two.
    """
    exact = [total * fraction for fraction in fractions]
    counts = [int(np.floor(value + 1e-9)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i, fraction in enumerate(fractions):
        largest = max(range(len(counts)), key=lambda j: counts[j])
        if fraction > 0 and counts[i] == 0 and counts[largest] > 1:
            counts[largest] -= 1
            counts[i] = 1
    return counts
