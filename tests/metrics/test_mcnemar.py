"""McNemar's exact test and Holm's correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from clad.metrics.functional.holm import holm
from clad.metrics.functional.mcnemar import mcnemar_exact


@pytest.mark.parametrize(
    "counts", [(0, 1), (1, 1), (0, 5), (3, 9), (9, 3), (12, 12), (40, 71), (900, 1013)]
)
def test_mcnemar_is_the_binomial_test_of_the_items_that_differ(counts):
    expected = binomtest(counts[0], sum(counts), 0.5).pvalue
    assert mcnemar_exact(*counts) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand_and_without_a_difference():
    assert mcnemar_exact(1, 5) == 2 * (1 + 6) / 2**6
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(0, 3000) == 0  # 2**-2999 is below the smallest number
    with pytest.raises(ValueError, match="numbers of items of at least 0, got -1 and 2"):
        mcnemar_exact(-1, 2)


def test_holm_by_hand():
    # Sorted 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.5 x 1.
    found = holm([0.03, 0.01, 0.5, 0.02])
    assert found == pytest.approx((0.06, 0.04, 0.5, 0.06))
    assert holm([0.2]) == (0.2,)
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_skips_what_has_no_value_and_lies_between_none_and_bonferroni():
    found = holm([math.nan, 0.01, math.nan, 0.04])
    assert found[1::2] == pytest.approx((0.02, 0.04))
    assert math.isnan(found[0])
    assert math.isnan(found[2])
    values = np.random.default_rng(0).uniform(size=20)
    corrected = np.array(holm(values.tolist()))
    assert (corrected >= values).all()
    assert (corrected <= np.minimum(1, 20 * values)).all()
    with pytest.raises(ValueError, match=r"p-values in \[0, 1\], got 1.5"):
        holm([1.5])
