"""How many images the owners of public data sets publish, to notice copies that are incomplete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clad.data.files import shown
from clad.samples import Sample, Splits


class Counts(NamedTuple):
    """Images of one category: all of train, normal in test, anomalous in test."""

    train: int
    test_normal: int
    test_anomalous: int


MVTEC_AD = {
    "bottle": Counts(209, 20, 63),
    "cable": Counts(224, 58, 92),
    "capsule": Counts(219, 23, 109),
    "carpet": Counts(280, 28, 89),
    "grid": Counts(264, 21, 57),
    "hazelnut": Counts(391, 40, 70),
    "leather": Counts(245, 32, 92),
    "metal_nut": Counts(220, 22, 93),
    "pill": Counts(267, 26, 141),
    "screw": Counts(320, 41, 119),
    "tile": Counts(230, 33, 84),
    "toothbrush": Counts(60, 12, 30),
    "transistor": Counts(213, 60, 40),
    "wood": Counts(247, 19, 60),
    "zipper": Counts(240, 32, 119),
}
"""Bergmann et al., MVTec AD, CVPR 2019, table 1."""

VISA = {
    "candle": Counts(900, 100, 100),
    "capsules": Counts(542, 60, 100),
    "cashew": Counts(450, 50, 100),
    "chewinggum": Counts(453, 50, 100),
    "fryum": Counts(450, 50, 100),
    "macaroni1": Counts(900, 100, 100),
    "macaroni2": Counts(900, 100, 100),
    "pcb1": Counts(904, 100, 100),
    "pcb2": Counts(901, 100, 100),
    "pcb3": Counts(905, 101, 100),
    "pcb4": Counts(904, 101, 100),
    "pipe_fryum": Counts(450, 50, 100),
}
"""Zou et al., SPot-the-Difference, ECCV 2022: the one-class split of ``split_csv/1cls.csv``."""


def count(splits: Splits) -> dict[str, Counts]:
    """Counts per category; validation counts as train, which it was carved from."""
    fit = (*splits.train, *splits.validation)
    names = dict.fromkeys(sample.category for sample in (*fit, *splits.test))
    return {
        name: Counts(
            _number(fit, name),
            _number(splits.test, name, label=0),
            _number(splits.test, name, label=1),
        )
        for name in names
    }


def incomplete_note(found: Mapping[str, Counts], owner: Mapping[str, Counts]) -> str | None:
    """One sentence on categories that differ from the owner's, None if all agree.

    Resized or reduced copies are legal and so are other categories: this informs, nothing more.
    """
    differing = [
        f"{name} has {'/'.join(map(str, counts))} instead of {'/'.join(map(str, owner[name]))}"
        for name, counts in found.items()
        if name in owner and counts != owner[name]
    ]
    if not differing:
        return None
    return (
        "not the owner's full set (train/test normal/test anomalous): "
        f"{shown(differing)}; numbers cannot be compared with published ones."
    )


def _number(samples: Sequence[Sample], category: str, label: int | None = None) -> int:
    return sum(
        sample.category == category and (label is None or sample.label == label)
        for sample in samples
    )
