from __future__ import annotations

import math
import statistics

import pytest

from clad.metrics.spread import spread


def test_sample_deviation_as_in_the_standard_library():
    values = [0.91, 0.95, 0.9]
    found = spread(values)
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.std == pytest.approx(statistics.stdev(values))
    assert found[2:] == (0.9, 0.95, 3)


def test_one_value_has_no_deviation_and_undefined_ones_are_left_out():
    one = spread([math.nan, 0.5])
    assert (one.mean, one.low, one.high, one.num) == (0.5, 0.5, 0.5, 1)
    assert math.isnan(one.std)
    none = spread([math.nan])
    assert none.num == 0
    assert math.isnan(none.mean)


def test_equal_values_have_no_spread_at_all():
    assert spread([0.1] * 3).std == 0
