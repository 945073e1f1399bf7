"""ImageText and PatchText against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_features import alignment_of, features_of
from scipy import ndimage

from clad.heads.image_text import ImageText
from clad.heads.patch_text import PatchText

NOTHING = features_of(torch.zeros(2, 1, 1, 1))
NAMES = ("nut", "nut")
FINE = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[-1.0, -1.0], [-1.0, 5.0]]])
COARSE = torch.tensor([[[4.0]], [[-3.0]]])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


class TestImageText:
    def test_logit_is_anomalous_minus_normal(self):
        found = ImageText()(NOTHING, alignment_of([2.0, -0.5], []), NAMES, (4, 4))
        assert found.scores.tolist() == [2.0, -0.5]
        assert found.maps is None

    def test_probability_is_the_softmax_of_the_pair(self):
        found = ImageText("probability")(NOTHING, alignment_of([2.0, -0.5], []), NAMES, (4, 4))
        assert found.scores.tolist() == pytest.approx([sigmoid(2.0), sigmoid(-0.5)])

    def test_logit_tells_apart_what_a_probability_cannot(self):
        alignment = alignment_of([200.0, 300.0], [])
        assert ImageText()(NOTHING, alignment, NAMES, (4, 4)).scores.diff() > 0
        assert ImageText("probability")(NOTHING, alignment, NAMES, (4, 4)).scores.diff() == 0

    def test_an_unknown_output_is_refused(self):
        with pytest.raises(ValueError, match="one of gaussian, logit, probability; got 'odds'"):
            ImageText("odds")


class TestPatchText:
    def predict(self, patches, size=(2, 2), **settings):
        head = PatchText(**({"sigma_px": 0.0, "top_share": 0.0} | settings))
        return head(NOTHING, alignment_of([0.0, 0.0], patches), NAMES, size)

    def test_map_is_anomalous_minus_normal_row_by_row(self):
        found = self.predict([FINE])
        assert torch.equal(found.maps, FINE)
        assert found.scores.tolist() == [3.0, 5.0]

    def test_layers_are_averaged_in_maps_and_scores(self):
        found = self.predict([FINE, COARSE])
        assert torch.equal(found.maps, (FINE + COARSE) / 2)
        assert found.scores.tolist() == [(3 + 4) / 2, (5 - 3) / 2]

    def test_probabilities_are_taken_before_averaging(self):
        found = self.predict([FINE, COARSE], output="probability")
        expected = (sigmoid(3.0) + sigmoid(4.0)) / 2
        assert found.scores[0].item() == pytest.approx(expected)
        assert found.maps[0, 1, 1].item() == pytest.approx(expected)

    def test_logits_can_be_averaged_at_image_size_before_they_become_probabilities(self):
        settings = {"output": "probability", "average": "logits"}
        found = self.predict([FINE, COARSE], **settings)
        assert found.maps[0, 1, 1].item() == pytest.approx(sigmoid((3.0 + 4.0) / 2))
        logits = self.predict([FINE, COARSE], size=(12, 10)).maps
        blurred = self.predict([FINE, COARSE], size=(12, 10), sigma_px=1.5, **settings).maps
        expected = ndimage.gaussian_filter(torch.sigmoid(logits), (0, 1.5, 1.5))
        np.testing.assert_allclose(blurred, expected, atol=1e-5)

    def test_image_score_averages_the_share_that_stands_out(self):
        assert self.predict([FINE], top_share=0.5).scores.tolist() == [2.5, 2.0]
        assert self.predict([FINE], top_share=1.0).scores.tolist() == [1.5, 0.5]

    def test_map_is_enlarged_then_blurred_in_pixels_of_the_image(self):
        found = self.predict([FINE], size=(12, 10), sigma_px=1.5)
        sharp = self.predict([FINE], size=(12, 10)).maps
        expected = ndimage.gaussian_filter(sharp, (0, 1.5, 1.5))
        np.testing.assert_allclose(found.maps, expected, atol=1e-5)
        assert torch.equal(found.scores, self.predict([FINE]).scores), "scores come from patches"

    def test_image_score_may_come_from_the_whole_image(self):
        for output, expected in (
            ("logit", [2.0, -0.5]),
            ("probability", [sigmoid(2), sigmoid(-0.5)]),
        ):
            head = PatchText(output, sigma_px=0.0, score="image")
            found = head(NOTHING, alignment_of([2.0, -0.5], [FINE, COARSE]), NAMES, (2, 2))
            assert found.scores.tolist() == pytest.approx(expected)
            plain = self.predict([FINE, COARSE], output=output)
            assert torch.equal(found.maps, plain.maps), "the map is of patches all the same"

    def test_image_score_may_be_the_mean_of_image_and_largest_map_value(self):
        head = PatchText("probability", sigma_px=0.0, score="mean")
        found = head(NOTHING, alignment_of([2.0, -0.5], [FINE, COARSE]), NAMES, (2, 2))
        largest = [(sigmoid(3) + sigmoid(4)) / 2, (sigmoid(5) + sigmoid(-3)) / 2]
        whole = [sigmoid(2), sigmoid(-0.5)]
        expected = [(a + b) / 2 for a, b in zip(largest, whole, strict=True)]
        assert found.scores.tolist() == pytest.approx(expected)
        assert found.parts["map"].tolist() == pytest.approx(largest)
        assert found.parts["image"].tolist() == pytest.approx(whole)

    def test_largest_map_value_is_taken_after_the_blur(self):
        head = PatchText(sigma_px=2.0, score="mean")
        found = head(NOTHING, alignment_of([0.0, 0.0], [FINE]), NAMES, (8, 8))
        assert torch.equal(found.parts["map"], found.maps.amax((1, 2)))
        assert (found.parts["map"] < torch.tensor([3.0, 5.0])).all()

    def test_anomalous_plus_inverse_normal_halved_is_the_anomalous_probability(self):
        """The map of APRIL-GAN's and AnomalyCLIP's code."""
        pair = torch.stack([torch.zeros_like(FINE), FINE], -1).softmax(-1)
        published = (pair[..., 1] + 1 - pair[..., 0]) / 2
        torch.testing.assert_close(self.predict([FINE], output="probability").maps, published)

    def test_patches_may_lie_on_another_grid_than_the_tokens(self):
        assert self.predict([torch.rand(2, 3, 5)], size=(6, 10)).maps.shape == (2, 6, 10)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"output": "odds"}, "expected output to be one of"),
            ({"top_share": -0.1}, r"expected top_share in \[0, 1\]"),
            ({"sigma_px": -1}, "expected sigma_px in"),
            (
                {"average": "maps"},
                "expected average to be one of logits, pixels, values; got 'maps'",
            ),
            ({"score": "max"}, "expected score to be one of image, mean, patches; got 'max'"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            PatchText(**settings)
