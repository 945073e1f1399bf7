from __future__ import annotations

import numpy as np
import pytest

from clad.synthesis.base import Synthesizer
from clad.synthesis.mixture import Mixture

IMAGE = np.zeros((32, 32, 3), np.uint8)


class Stripe(Synthesizer):
    """Paints one column and counts."""

    def __init__(self, column):
        self.column, self.calls = column, 0

    def __call__(self, image, rng):
        self.calls += 1
        changed, mask = image.copy(), np.zeros(image.shape[:2], bool)
        changed[:, self.column] += 100
        mask[:, self.column] = True
        return changed, mask


def test_generators_are_drawn_by_weight():
    stripes = [Stripe(column) for column in range(4)]
    mixture = Mixture(stripes, weights=(4.0, 2.0, 2.0, 0.0), count=(1, 1))
    rng = np.random.default_rng(0)
    for _ in range(4000):
        mixture(IMAGE, rng)
    shares = np.array([stripe.calls for stripe in stripes]) / 4000
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25, 0], atol=3 * np.sqrt(0.25 / 4000))
    assert stripes[3].calls == 0


def test_weights_default_to_equal_and_count_is_uniform():
    stripes = [Stripe(column) for column in range(3)]
    mixture, rng = Mixture(stripes, count=(1, 3)), np.random.default_rng(0)
    for _ in range(3000):
        mixture(IMAGE, rng)
    calls = np.array([stripe.calls for stripe in stripes])
    assert calls.sum() / 3000 == pytest.approx(2, abs=0.06)
    np.testing.assert_allclose(calls / calls.sum(), 1 / 3, atol=0.03)


def test_mask_is_the_union_and_changes_add_up():
    mixture = Mixture([Stripe(3), Stripe(9)], count=(2, 2))
    seen = set()
    for seed in range(20):
        changed, mask = mixture(IMAGE, np.random.default_rng(seed))
        columns = tuple(np.flatnonzero(mask.any(axis=0)))
        seen.add(columns)
        np.testing.assert_array_equal(changed.any(axis=2), mask)
    assert seen == {(3,), (9,), (3, 9)}
    assert not IMAGE.any()


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ((1.0,), (1, 1), "expected 2 weights, one per generator, got 1"),
        ((-1.0, 2.0), (1, 1), "expected weights >= 0 with a positive sum"),
        ((0.0, 0.0), (1, 1), "expected weights >= 0 with a positive sum"),
        ((1.0, float("nan")), (1, 1), "expected weights >= 0 with a positive sum"),
        (None, (0, 1), r"expected count to be \(fewest, most\) .* got \(0, 1\)"),
        (None, (3, 2), r"expected count to be \(fewest, most\)"),
    ],
)
def test_bad_settings_are_refused(weights, count, message):
    with pytest.raises(ValueError, match=message):
        Mixture([Stripe(0), Stripe(1)], weights, count)


def test_no_generators_are_refused():
    with pytest.raises(ValueError, match="expected at least one generator, got none"):
        Mixture([])
