"""How often the true kind of defect is named first: counted by hand."""

from __future__ import annotations

import math

import pytest

from clad.metrics.naming import naming_accuracy


def test_accuracy_and_chance_counted_by_hand() -> None:
    rankings = [
        ("bent", "scratch", "hole", "dirt"),  # right at once
        ("scratch", "hole", "bent", "dirt"),  # third
        ("scratch", "hole", "dirt", "bent"),  # fourth
        ("crack", "dent"),  # second of two
        ("bent", "scratch", "hole", "dirt"),  # a good part
        ("bent", "scratch", "hole", "dirt"),  # a kind that nobody described
    ]
    types = ["bent", "bent", "bent", "dent", "good", "rust"]
    found = naming_accuracy(rankings, types, [1, 1, 1, 1, 0, 1])
    assert found.top_1 == 1 / 4
    assert found.top_3 == 3 / 4
    assert found.chance_1 == (3 / 4 + 1 / 2) / 4
    assert found.chance_3 == (3 * 3 / 4 + 1) / 4
    assert (found.num_images, found.num_left_out) == (4, 1)
    assert str(found) == (
        "true kind of defect first in 0.250 of 4 defective images (chance 0.312), among the first "
        "3 in 0.750 (chance 0.812); 1 of other kinds left out"
    )


def test_without_a_defective_image_nothing_is_defined() -> None:
    found = naming_accuracy([("bent",)], ["good"], [0])
    assert math.isnan(found.top_1)
    assert math.isnan(found.chance_3)
    assert found.num_images == 0
    assert str(found).startswith("undefined: no defective image of a kind")


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="one ranking, type and label per image, got 1, 2 and 1"):
        naming_accuracy([("a",)], ["a", "b"], [1])
    with pytest.raises(ValueError, match="each defect type once in a ranking, got"):
        naming_accuracy([("a", "a")], ["a"], [1])
