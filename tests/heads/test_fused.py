from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_features import features_of, tower

from clad.heads.base import Head
from clad.heads.fused import Fused
from clad.types import Prediction


class Column(Head):
    """Scores are a column of the summary; a flat map of that score, or one with a slope."""

    def __init__(self, column: int, has_map: bool = False, slope: float = 0.0) -> None:
        super().__init__()
        self.column = column
        self.has_map = has_map
        self.slope = slope
        self.calls: list[str] = []

    def attach(self, tower, class_names):
        self.calls.append(f"attach {' '.join(class_names)}")

    def start_reference(self):
        self.calls.append("start")

    def observe(self, features, categories):
        self.calls.append(f"observe {len(categories)}")

    def finish_reference(self):
        self.calls.append("finish")

    def forward(self, features, alignment, categories, image_size):
        scores = features.summary[:, self.column]
        if not self.has_map:
            return Prediction(scores)
        ramp = self.slope * torch.linspace(-1, 1, image_size[1])
        return Prediction(scores, scores[:, None, None] + ramp.expand(image_size))


class Wordy(Column):
    needs_text = True
    needs_reference = True


def summary(*rows):
    features = features_of(torch.zeros(len(rows), 1, 4, 4))
    return replace(features, summary=torch.tensor(rows, dtype=torch.float32))


def fitted(head, rows, labels=None, names=None):
    labels = labels or (0,) * len(rows)
    names = names or ("nut",) * len(rows)
    head.start_validation()
    head.observe_validation(summary(*rows), None, names, labels)
    head.finish_validation()
    return head


def made(heads, names=("nut",), **weights):
    head = Fused(heads, **weights)
    head.attach(tower(1, image_size=(4, 6)), names)
    return head


# Means 2 and 20, standard deviations 1 and 10.
NORMALS = [(1, 10), (2, 20), (3, 30)]


def test_evidence_adds_up_as_signed_squares():
    head = fitted(made([Column(0), Column(1)], score_weights=[3.0, 1.0], power=2.0), NORMALS)
    found = head(summary((4, 0), (2, 50)), None, ("nut",) * 2, (4, 6))
    # z = (2, -2) and (0, 3): (3 * 4 - 4) / 4 = 2 and 9 / 4, then the roots.
    assert found.scores.tolist() == pytest.approx([2**0.5, 1.5])


def test_scores_are_weighted_means_of_z_scores():
    head = fitted(made([Column(0), Column(1)], score_weights=[3.0, 1.0], power=1.0), NORMALS)
    found = head(summary((4, 0), (2, 50)), None, ("nut",) * 2, (4, 6))
    # (4 - 2)/1 = 2 and (0 - 20)/10 = -2; (2 - 2)/1 = 0 and (50 - 20)/10 = 3.
    assert found.scores.tolist() == [(3 * 2 - 2) / 4, (0 + 3) / 4]
    assert found.maps is None


def test_parts_are_the_z_scores_by_name_of_head():
    head = fitted(made([Column(0), Column(1), Wordy(0)]), NORMALS)
    parts = head(summary((4, 0)), None, ("nut",), (4, 6)).parts
    assert {name: value.tolist() for name, value in parts.items()} == {
        "column_1": [2.0],
        "column_2": [-2.0],
        "wordy": [2.0],
    }


def test_weights_left_out_are_all_alike_and_zero_leaves_a_head_out():
    rows = summary((4, 0))
    alike = fitted(made([Column(0), Column(1)]), NORMALS)
    assert alike(rows, None, ("nut",), (4, 6)).scores.tolist() == [0.0]
    second = fitted(made([Column(0), Column(1)], score_weights=[0.0, 2.0]), NORMALS)
    assert second(rows, None, ("nut",), (4, 6)).scores.tolist() == [-2.0]


def test_maps_are_in_deviations_of_all_their_pixels():
    # Column 0 with a slope: pixels of validation maps spread around a mean of 2.
    sloped, scores_only = Column(0, has_map=True, slope=2.0), Column(1)
    head = fitted(made([sloped, scores_only], map_weights=[2.0, 0.0]), NORMALS)
    pixels = sloped(summary(*NORMALS), None, ("nut",) * 3, (4, 6)).maps
    found = head(summary((5, 0)), None, ("nut",), (4, 6)).maps
    raw = sloped(summary((5, 0)), None, ("nut",), (4, 6)).maps
    expected = (raw - pixels.mean()) / pixels.std(correction=0)
    torch.testing.assert_close(found, expected)


def test_maps_are_averaged_over_the_heads_that_make_one():
    heads = [Column(0, has_map=True), Column(1), Column(1, has_map=True)]
    head = fitted(made(heads, map_weights=[1.0, 5.0, 3.0]), NORMALS)
    found = head(summary((4, 0)), None, ("nut",), (4, 6)).maps
    # Flat maps: deviations over three images, without Bessel's correction.
    z = 2 / (2 / 3) ** 0.5
    torch.testing.assert_close(found, torch.full((1, 4, 6), (1 * z - 3 * z) / 4))


def test_map_scales_are_fitted_at_the_size_of_images():
    class SizeTeller(Column):
        def forward(self, features, alignment, categories, image_size):
            self.calls.append(f"size {image_size}")
            return super().forward(features, alignment, categories, image_size)

    teller = SizeTeller(0, has_map=True)
    fitted(made([teller]), NORMALS)
    assert teller.calls[-1] == "size (4, 6)", "a blur in pixels is weaker there than on the grid"


def test_anomalous_validation_images_change_nothing():
    plain = fitted(made([Column(0, has_map=True), Column(1)]), NORMALS)
    leaky = fitted(
        made([Column(0, has_map=True), Column(1)]),
        [*NORMALS, (1000, -1000), (77, 5)],
        labels=(0, 0, 0, 1, 1),
    )
    torch.testing.assert_close(leaky.state_dict(), plain.state_dict())


def test_each_category_has_scales_of_its_own():
    names = ("nut", "tile") * 3
    rows = [(1, 0), (100, 0), (2, 0), (200, 0), (3, 0), (300, 0)]
    head = fitted(made([Column(0)], ("nut", "tile")), rows, names=names)
    found = head(summary((4, 0), (400, 0)), None, ("nut", "tile"), (4, 6))
    assert found.scores.tolist() == [2.0, 2.0]


def test_references_and_categories_are_passed_on():
    inner = Column(0)
    head = made([inner], ("nut", "tile"))
    head.start_reference()
    head.observe(summary((1, 1), (2, 2)), ("nut", "tile"))
    head.finish_reference()
    assert inner.calls == ["attach nut tile", "start", "observe 2", "finish"]


def test_needs_are_those_of_its_heads():
    assert not Fused([Column(0)]).needs_text
    assert not Fused([Column(0)]).needs_reference
    assert Fused([Column(0), Wordy(0)]).needs_text
    assert Fused([Column(0), Wordy(0)]).needs_reference
    assert Fused([Column(0)]).needs_validation


def test_scales_make_the_round_trip():
    head = fitted(made([Column(0, has_map=True), Column(1)]), NORMALS)
    fresh = made([Column(0, has_map=True), Column(1)])
    fresh.load_state_dict(head.state_dict())
    arguments = (summary((4, 0)), None, ("nut",), (4, 6))
    assert torch.equal(fresh(*arguments).scores, head(*arguments).scores)
    assert torch.equal(fresh(*arguments).maps, head(*arguments).maps)


def test_too_few_normal_images_are_refused():
    with pytest.raises(
        ValueError, match=r"expected at least 3 normal validation images of nut .* got 2; raise"
    ):
        fitted(made([Column(0)]), [*NORMALS], labels=(0, 0, 1))


def test_scores_before_scales_are_refused():
    head = made([Column(0)], ("nut", "tile"))
    with pytest.raises(ValueError, match="expected scales fitted on normal validation images"):
        head(summary((1, 1)), None, ("nut",), (4, 6))
    with pytest.raises(ValueError, match="expected categories among nut, tile, got screw"):
        head(summary((1, 1)), None, ("screw",), (4, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "expected at least one head to fuse, got none"),
        (([Column(0)], [1.0, 2.0]), "expected score_weights with one weight"),
        (([Column(0)], [-1.0]), "expected score_weights with one weight"),
        (([Column(0)], None, [0.0]), "expected map_weights with one weight"),
        (([Fused([Column(0)])],), "expected heads without scales of their own"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Fused(*arguments)


def test_without_standardising_scores_and_maps_are_combined_as_they_are():
    heads = [Column(0, has_map=True), Column(1, has_map=True)]
    head = made(heads, score_weights=[1.0, 3.0], power=1.0, standardise=False)
    assert not head.needs_validation
    found = head(summary((2, 6), (-1, 4)), None, ("nut",) * 2, (4, 6))
    assert found.scores.tolist() == [(2 + 3 * 6) / 4, (-1 + 3 * 4) / 4]
    assert found.maps[:, 0, 0].tolist() == [(2 + 6) / 2, (-1 + 4) / 2]
