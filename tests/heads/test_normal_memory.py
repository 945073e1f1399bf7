from __future__ import annotations

import numpy as np
import pytest
import torch
from made_features import features_of, observed, random_features, tower
from scipy.spatial.distance import cdist

from clad.features import dense_tokens, enlarge, token_maps, top_mean
from clad.heads.normal_memory import NormalMemory

SIZE = (8, 8)
EVERYTHING = 10_000


@pytest.fixture(autouse=True)
def _exact_search(monkeypatch):
    """Machines with fast bfloat16 look for the nearest row in it; these tests compare numbers."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def made(names=("nut",), **settings) -> NormalMemory:
    head = NormalMemory(**({"size": EVERYTHING, "sigma_px": 0.0} | settings))
    head.attach(tower(3, 5), names)
    return head


def rows_of(features, neighbourhood=3) -> np.ndarray:
    """(B, P, C) stacked tokens as the head is meant to compare them."""
    return dense_tokens(token_maps(features), neighbourhood).flatten(2).mT.double().numpy()


def slow_distances(train, queries, scale: str, position_weight: float) -> np.ndarray:
    bank = rows_of(train)
    spread = bank.reshape(-1, 8).std(0)
    if scale == "none":
        spread = np.full(8, np.sqrt((spread**2).mean()))
    # 16 patches, row by row, at the centres of a 4 x 4 grid over the unit square.
    places = (np.stack(np.divmod(np.arange(16), 4), 1) + 0.5) / 4
    columns = position_weight * np.tile(places, (len(bank), 1))
    bank = np.hstack([bank.reshape(-1, 8) / spread / np.sqrt(8), columns])
    return np.stack(
        [
            cdist(np.hstack([image / spread / np.sqrt(8), position_weight * places]), bank).min(1)
            for image in rows_of(queries)
        ]
    )


@pytest.mark.parametrize("scale", ["standardise", "none"])
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_maps_are_distances_to_the_nearest_normal_patch(scale, weight):
    train, queries = random_features(6), random_features(3, seed=1)
    head = made(scale=scale, position_weight=weight, top_share=0.0)
    observed(head, train, ("nut",) * 6)
    found = head(queries, None, ("nut",) * 3, (4, 4))
    expected = slow_distances(train, queries, scale, weight)
    np.testing.assert_allclose(found.maps.flatten(1), expected, rtol=1e-3)
    np.testing.assert_allclose(found.scores, expected.max(1), rtol=1e-3)


def test_a_known_patch_in_the_wrong_place_stands_out_by_its_shift():
    left = torch.zeros(1, 3, 4, 4)
    left[..., :2] = torch.tensor([5.0, 0, 0])[:, None, None]
    distances = []
    for weight in (0.0, 2.0):
        head = NormalMemory(size=EVERYTHING, neighbourhood=1, position_weight=weight, sigma_px=0)
        head.attach(tower(3), ("nut",))
        observed(head, features_of(left), ("nut",))
        distances.append(head(features_of(left.flip(-1)), None, ("nut",), (4, 4)).maps[0, 0])
    assert distances[0].tolist() == pytest.approx([0] * 4, abs=1e-5)
    # The nearest place of the same kind is two, then one column away; a column is 1/4.
    expected = [2.0 * 2 / 4, 2.0 * 1 / 4, 2.0 * 1 / 4, 2.0 * 2 / 4]
    assert distances[1].tolist() == pytest.approx(expected, rel=1e-5)


def test_unit_scale_gives_every_layers_token_the_same_say():
    train, queries = random_features(6), random_features(2, seed=1)
    head = observed(made(scale="unit"), train, ("nut",) * 6)
    found = head(queries, None, ("nut",) * 2, (4, 4))
    fine, coarse = token_maps(queries)
    louder = features_of(9.0 * fine, 0.3 * coarse)
    torch.testing.assert_close(head(louder, None, ("nut",) * 2, (4, 4)).maps, found.maps)


def test_standardised_channels_do_not_depend_on_their_units():
    units = torch.tensor([1.0, 100.0, 0.01])[:, None, None]
    fine = [torch.randn(n, 3, 4, 4) for n in (5, 2)]
    predictions = []
    for factor in (torch.ones(3, 1, 1), units):
        head = NormalMemory(size=EVERYTHING, scale="standardise")
        head.attach(tower(3), ("nut",))
        observed(head, features_of(fine[0] * factor), ("nut",) * 5)
        predictions.append(head(features_of(fine[1] * factor), None, ("nut",) * 2, SIZE))
    torch.testing.assert_close(predictions[0].scores, predictions[1].scores, rtol=1e-4, atol=1e-5)


def test_each_category_has_a_memory_of_its_own():
    nuts, tiles = random_features(4), random_features(4, seed=1)
    head = made(("nut", "tile"), top_share=0.0)
    head.start_reference()
    head.observe(nuts, ("nut",) * 4)
    head.observe(tiles, ("tile",) * 4)
    head.finish_reference()
    assert head(nuts, None, ("nut",) * 4, SIZE).scores.max() < 1e-2
    assert head(nuts, None, ("tile",) * 4, SIZE).scores.min() > 0.1
    mixed = head(nuts, None, ("nut", "tile", "nut", "tile"), SIZE).scores
    alone = [head(nuts, None, (name,) * 4, SIZE).scores for name in ("nut", "tile")]
    expected = torch.stack([alone[0][0], alone[1][1], alone[0][2], alone[1][3]])
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-4)


def test_the_bank_is_bounded_and_does_not_grow_with_the_data():
    head = made(size=20)
    head.start_reference()
    for seed in range(5):
        head.observe(random_features(8, seed=seed), ("nut",) * 8)
    head.finish_reference()
    assert len(head.bank_0) == 20


def test_observing_again_starts_from_nothing_and_repeats():
    head = observed(made(size=20), random_features(8), ("nut",) * 8)
    first = head.bank_0.clone()
    assert torch.equal(observed(head, random_features(8), ("nut",) * 8).bank_0, first)
    assert not torch.equal(
        observed(made(size=20, seed=1), random_features(8), ("nut",) * 8).bank_0, first
    )


def test_greedy_keeps_the_rare_patch_that_a_sample_misses():
    train = torch.randn(60, 3, 4, 4)
    train[41, :, 2, 1] = torch.tensor([40.0, 0, 0])
    largest = {}
    for selection in ("random", "greedy"):
        settings = {"selection": selection, "candidates": 40, "scale": "none"}
        head = NormalMemory(size=30, neighbourhood=1, **settings)
        head.attach(tower(3), ("nut",))
        observed(head, features_of(train), ("nut",) * 60)
        assert head.bank_0.shape == (30, 5)
        assert head.bank_0.dtype == torch.float16
        largest[selection] = head.bank_0[:, 0].max().item()
    assert largest["greedy"] == 40
    assert largest["random"] < 10


def test_greedy_chooses_by_the_scaled_distance_among_all_patches():
    train = random_features(6)
    head = observed(
        made(size=12, selection="greedy", candidates=8, position_weight=1.5), train, ("nut",) * 6
    )
    whole = observed(made(scale="unit", position_weight=1.5), train, ("nut",) * 6).bank_0.double()
    assert len(whole) == 96
    kept = head.bank_0.double()
    spread = whole[:, :8].std(0, correction=0).square().mean().sqrt() * 8**0.5
    units = torch.tensor([1 / spread] * 8 + [1.5] * 2, dtype=torch.float64)
    radius = torch.cdist(whole * units, kept * units).amin(1).max()
    # Each kept patch was farther from those before it than any patch is now from all of them.
    assert torch.pdist(kept * units).min() >= radius


def test_candidates_bound_what_greedy_holds():
    head = made(size=10, selection="greedy", candidates=3)
    head.start_reference()
    for seed in range(4):
        head.observe(random_features(8, seed=seed), ("nut",) * 8)
    assert head._reservoirs["nut"].rows().shape == (30, 10)
    head.finish_reference()
    assert head.bank_0.shape == (10, 10)


def test_greedy_keeps_all_of_too_few_and_repeats():
    train = random_features(6)
    few = observed(made(size=500, selection="greedy"), train, ("nut",) * 6)
    assert torch.equal(few.bank_0, observed(made(size=500), train, ("nut",) * 6).bank_0)
    banks = [
        observed(made(size=9, selection="greedy", candidates=2, seed=s), train, ("nut",) * 6).bank_0
        for s in (0, 0, 1)
    ]
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])


def test_a_faded_border_is_that_of_the_dense_tokens():
    train, queries = random_features(6), random_features(2, seed=1)
    head = observed(
        made(scale="none", position_weight=0.0, top_share=0.0, fade_border=True),
        train,
        ("nut",) * 6,
    )
    banked, asked = (
        dense_tokens(token_maps(each), 3, fade_border=True).flatten(2).mT
        for each in (train, queries)
    )
    bank = banked.flatten(0, 1).double().numpy()
    spread = np.sqrt((bank.std(0) ** 2).mean() * 8)
    expected = [cdist(image.double().numpy(), bank).min(1).max() / spread for image in asked]
    found = head(queries, None, ("nut",) * 2, SIZE).scores
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_bank_is_made_ready_once_and_anew_when_it_changes(monkeypatch):
    prepared = []
    scales = NormalMemory._scales
    monkeypatch.setattr(NormalMemory, "_scales", lambda *a: prepared.append(1) or scales(*a))
    head = observed(made(), random_features(6), ("nut",) * 6)
    queries = random_features(2, seed=1)
    first = head(queries, None, ("nut",) * 2, SIZE).scores
    with torch.inference_mode():
        head(queries, None, ("nut",) * 2, SIZE)
    assert len(prepared) == 1
    other = observed(made(), random_features(6, seed=2), ("nut",) * 6)
    head.load_state_dict(other.state_dict())
    changed = head(queries, None, ("nut",) * 2, SIZE).scores
    assert torch.equal(changed, other(queries, None, ("nut",) * 2, SIZE).scores)
    observed(head, random_features(6), ("nut",) * 6)
    assert torch.equal(head(queries, None, ("nut",) * 2, SIZE).scores, first)


def test_a_bank_made_ready_in_inference_mode_serves_gradients_too():
    head = observed(made(), random_features(6), ("nut",) * 6)
    with torch.inference_mode():
        head(random_features(1, seed=1), None, ("nut",), SIZE)
    fine, coarse = (each.requires_grad_() for each in token_maps(random_features(1, seed=1)))
    head(features_of(fine, coarse), None, ("nut",), SIZE).scores.sum().backward()
    assert fine.grad.abs().sum() > 0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_score_and_map_come_from_the_same_distances(share):
    head = observed(made(top_share=share, sigma_px=2.0), random_features(5), ("nut",) * 5)
    queries = random_features(2, seed=1)
    found = head(queries, None, ("nut",) * 2, (32, 32))
    head.sigma_px = 0.0
    distances = head(queries, None, ("nut",) * 2, (4, 4)).maps
    torch.testing.assert_close(found.scores, top_mean(distances, share))
    torch.testing.assert_close(found.maps, enlarge(distances, (32, 32), 2.0))


def test_chosen_layers_alone_count():
    head = NormalMemory(size=EVERYTHING, layers=(1,))
    head.attach(tower(3, 5), ("nut",))
    observed(head, random_features(4), ("nut",) * 4)
    fine, coarse = token_maps(random_features(2, seed=1))
    found = head(features_of(fine, coarse), None, ("nut",) * 2, SIZE)
    other = head(features_of(fine + 9, coarse), None, ("nut",) * 2, SIZE)
    assert torch.equal(found.maps, other.maps)
    assert not torch.equal(
        head(features_of(fine, coarse + 9), None, ("nut",) * 2, SIZE).maps, found.maps
    )


def test_state_makes_the_round_trip_in_whatever_size_the_bank_has():
    train, queries = random_features(6), random_features(2, seed=1)
    head = observed(made(("nut", "tile")), train, ("nut", "tile") * 3)
    fresh = made(("nut", "tile"))
    fresh.load_state_dict(head.state_dict())
    assert len(fresh.bank_0) == 48
    arguments = (queries, None, ("nut", "tile"), SIZE)
    assert torch.equal(fresh(*arguments).scores, head(*arguments).scores)
    fresh.load_state_dict(made(("nut", "tile")).state_dict())
    assert len(fresh.bank_0) == 0, "a memory may be emptied, too"


def test_categories_that_were_not_seen_are_refused():
    head = made(("nut", "tile"))
    with pytest.raises(ValueError, match="expected normal images of nut in the memory, got none"):
        head(random_features(1), None, ("nut",), SIZE)
    observed(head, random_features(2), ("nut",) * 2)
    with pytest.raises(ValueError, match="expected normal images of tile in the memory, got none"):
        head(random_features(2), None, ("nut", "tile"), SIZE)
    with pytest.raises(ValueError, match="expected categories among nut, tile, got screw"):
        head(random_features(1), None, ("screw",), SIZE)
    head.start_reference()
    with pytest.raises(ValueError, match="expected categories among nut, tile, got screw"):
        head.observe(random_features(1), ("screw",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, r"expected size in \[1"),
        ({"top_share": 1.5}, r"expected top_share in \[0, 1\], got 1.5"),
        ({"sigma_px": -1}, r"expected sigma_px in \[0"),
        ({"candidates": 0}, r"expected candidates in \[1"),
        ({"selection": "first"}, "expected selection to be one of greedy, random; got 'first'"),
        ({"scale": "whiten"}, "expected scale to be one of none, standardise, unit; got 'whiten'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NormalMemory(**settings)
