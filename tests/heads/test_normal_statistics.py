from __future__ import annotations

import numpy as np
import pytest
import torch
from made_features import features_of, observed, random_features, tower
from scipy.spatial.distance import mahalanobis

from clad.features import image_statistics, token_maps
from clad.heads.normal_statistics import NormalStatistics

SIZE = (8, 8)
WIDTH = 2 * (3 + 5)


def made(names=("nut",), **settings) -> NormalStatistics:
    head = NormalStatistics(**({"scale": "none"} | settings))
    head.attach(tower(3, 5), names)
    return head


def standardised(train, queries) -> tuple[np.ndarray, np.ndarray]:
    seen = image_statistics(token_maps(train)).double().numpy()
    centre, spread = seen.mean(0), seen.std(0, ddof=1)
    asked = image_statistics(token_maps(queries)).double().numpy()
    return (seen - centre) / spread, (asked - centre) / spread


@pytest.mark.parametrize("count", [5, 60])
def test_equals_mahalanobis_with_the_inverse_of_the_whole_covariance(count):
    train, queries = random_features(count), random_features(4, seed=1)
    seen, asked = standardised(train, queries)
    covariance = seen.T @ seen / count + 0.1 * np.eye(WIDTH)
    expected = [mahalanobis(row, np.zeros(WIDTH), np.linalg.inv(covariance)) for row in asked]
    head = observed(made(shrinkage=0.1, num_directions=500), train, ("nut",) * count)
    found = head(queries, None, ("nut",) * 4, SIZE)
    assert found.maps is None
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)


def test_directions_beyond_those_kept_count_with_the_added_variance_alone():
    train, queries = random_features(60), random_features(4, seed=1)
    seen, asked = standardised(train, queries)
    values, vectors = np.linalg.eigh(seen.T @ seen / 60)
    values[:-3] = 0  # ascending: the last three are kept
    inverse = vectors @ np.diag(1 / (values + 0.5)) @ vectors.T
    expected = np.sqrt(np.einsum("bi,ij,bj->b", asked, inverse, asked))
    head = observed(made(shrinkage=0.5, num_directions=3), train, ("nut",) * 60)
    assert head.directions.shape == (1, 3, WIDTH)
    found = head(queries, None, ("nut",) * 4, SIZE).scores
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_unit_scale_takes_statistics_of_tokens_of_norm_one():
    train, queries = random_features(8), random_features(3, seed=1)
    unit = [
        features_of(*(m / np.linalg.norm(m, axis=1, keepdims=True) for m in token_maps(each)))
        for each in (train, queries)
    ]
    names = ("nut",)
    expected = observed(made(), unit[0], names * 8)(unit[1], None, names * 3, SIZE).scores
    found = observed(made(scale="unit"), train, names * 8)(queries, None, names * 3, SIZE).scores
    torch.testing.assert_close(found, expected)


def test_distances_do_not_depend_on_the_units_of_channels():
    maps = torch.randn(6, 2, 4, 4)
    queries = torch.randn(3, 2, 4, 4)
    scores = []
    for factor in (1.0, 50.0):
        head = NormalStatistics(scale="none")
        head.attach(tower(2), ("nut",))
        observed(head, features_of(factor * maps), ("nut",) * 6)
        scores.append(head(features_of(factor * queries), None, ("nut",) * 3, SIZE).scores)
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-3)


def test_each_category_has_a_gaussian_of_its_own():
    both = features_of(*(torch.cat([m, m + 5]) for m in token_maps(random_features(6))))
    head = observed(made(("nut", "tile")), both, ("nut",) * 6 + ("tile",) * 6)
    nuts, tiles = ("nut",) * 12, ("tile",) * 12
    as_nuts, as_tiles = (head(both, None, names, SIZE).scores for names in (nuts, tiles))
    assert as_nuts[:6].max() < as_nuts[6:].min()
    assert as_tiles[6:].max() < as_tiles[:6].min()
    mixed = head(both, None, ("nut", "tile") * 6, SIZE).scores
    torch.testing.assert_close(mixed[::2], as_nuts[::2])
    torch.testing.assert_close(mixed[1::2], as_tiles[1::2])


def test_observing_in_two_blocks_is_observing_at_once():
    train = random_features(8)
    whole = observed(made(), train, ("nut",) * 8)
    parts = made()
    parts.start_reference()
    for rows in (slice(0, 3), slice(3, 8)):
        block = features_of(*(each[rows] for each in token_maps(train)))
        parts.observe(block, ("nut",) * len(block.summary))
    parts.finish_reference()
    torch.testing.assert_close(parts.state_dict(), whole.state_dict())


def test_state_makes_the_round_trip():
    head = observed(made(num_directions=4), random_features(8), ("nut",) * 8)
    fresh = made(num_directions=4)
    fresh.load_state_dict(head.state_dict())
    queries = random_features(2, seed=1)
    arguments = (queries, None, ("nut",) * 2, SIZE)
    assert torch.equal(fresh(*arguments).scores, head(*arguments).scores)


def test_a_single_image_has_no_spread_and_is_refused():
    head = made(("nut", "tile"))
    head.start_reference()
    head.observe(random_features(3), ("nut", "nut", "tile"))
    with pytest.raises(
        ValueError, match="expected at least 2 normal training images of tile, got 1"
    ):
        head.finish_reference()


def test_categories_that_were_not_seen_are_refused():
    head = made(("nut", "tile"))
    with pytest.raises(ValueError, match="expected normal statistics of nut, tile, got none"):
        head(random_features(2), None, ("nut", "tile"), SIZE)
    with pytest.raises(ValueError, match="expected categories among nut, tile, got screw"):
        head(random_features(1), None, ("screw",), SIZE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shrinkage": 0.0}, "expected shrinkage in"),
        ({"num_directions": 0}, "expected num_directions in"),
        ({"scale": "whiten"}, "expected scale to be one of none, unit; got 'whiten'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NormalStatistics(**settings)


def test_cells_tell_the_corners_of_an_image_apart():
    """Images with a bright upper half; turned upside down, only cells see a difference."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int, turned: bool = False):
        maps = torch.rand(count, 3, 4, 4, generator=generator)
        maps[:, 0, :2] += 5
        return features_of(maps.flip(2) if turned else maps)

    for cells, is_seen in ((1, False), (2, True)):
        head = NormalStatistics(scale="none", cells=cells)
        head.attach(tower(3), ("nut",))
        observed(head, images(40), ("nut",) * 40)
        usual, turned = (head(images(8, t), None, ("nut",) * 8, SIZE).scores for t in (False, True))
        assert (turned.min() > 3 * usual.max()).item() == is_seen
