"""Words and remembered tokens layer by layer, against plain loops and the published order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.alignment import align
from clad.heads.layer_memory import LayerMemory
from clad.heads.patch_text import PatchText
from clad.prompts.single_pair import SinglePair

NAMES = ("bottle", "pcb1")
SIZE = (24, 40)
TOWER = FakeTower()


def look(seed: int, categories=("bottle", "pcb1", "bottle")):
    features = TOWER.encode_image(fake_batch(categories, [0] * len(categories), seed=seed).images)
    return features, align(features, SinglePair()(NAMES, TOWER), categories, 10.0), categories


def fitted(*seeds: int, **settings) -> LayerMemory:
    head = LayerMemory(**settings)
    head.attach(TOWER, NAMES)
    head.start_reference()
    for seed in seeds:
        features, _, categories = look(seed)
        head.observe(features, categories)
    head.finish_reference()
    return head


def enlarged(maps: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(maps[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]


def slow_distance(features, layer: int, row: int, references) -> torch.Tensor:
    """(h, w) smallest 1 - cosine of each token with those of the references, pair by pair."""
    grid = features.grids[layer]
    found = torch.empty(grid)
    for n, token in enumerate(features.tokens[layer][row]):
        cosines = [
            functional.cosine_similarity(token, other.half().float(), dim=0)
            for other in references[layer]
        ]
        found[divmod(n, grid[1])] = 1 - torch.stack(cosines).max()
    return found


def test_map_and_score_equal_plain_loops():
    head = fitted(1, 2)
    features, alignment, categories = look(3)
    found = head(features, alignment, categories, SIZE)
    known = [(look(seed)[0], row) for seed in (1, 2) for row in (0, 1, 2)]
    expected = torch.zeros(3, *SIZE)
    for row, category in enumerate(categories):
        for layer, grid in enumerate(features.grids):
            text = alignment.patch_logits[layer][row].T.reshape(1, 2, *grid)
            text = functional.interpolate(text, SIZE, mode="bilinear", align_corners=False)
            unit = [
                [
                    functional.normalize(token, dim=0)
                    for other, place in known
                    if categories[place] == category
                    for token in other.tokens[n][place]
                ]
                for n in range(2)
            ]
            distance = slow_distance(features, layer, row, unit)
            expected[row] += (text.softmax(1)[0, 1] + enlarged(distance[None])[0]) / 2
    torch.testing.assert_close(found.maps, expected, atol=1e-5, rtol=1e-5)
    whole = alignment.image_logits.softmax(1)[:, 1]
    torch.testing.assert_close(found.scores, (whole + expected.amax((1, 2))) / 2)
    torch.testing.assert_close(found.parts["text"], whole)


def test_a_score_does_not_depend_on_other_test_images():
    head = fitted(1)
    features, alignment, categories = look(3)
    together = head(features, alignment, categories, SIZE).scores
    for row in range(3):
        alone = align(
            features.map(lambda t, row=row: t[row : row + 1]),
            SinglePair()(NAMES, TOWER),
            categories[row : row + 1],
            10.0,
        )
        one = features.map(lambda t, row=row: t[row : row + 1])
        found = head(one, alone, categories[row : row + 1], SIZE).scores
        torch.testing.assert_close(found, together[row : row + 1], atol=1e-6, rtol=1e-5)


def test_remembered_images_have_no_distance_and_words_remain():
    head = fitted(1)
    features, alignment, categories = look(1)
    zero_shot = PatchText(output="probability", average="pixels", sigma_px=0.0, score="image")
    found = head(features, alignment, categories, SIZE)
    words = zero_shot(features, alignment, categories, SIZE)
    torch.testing.assert_close(found.maps, words.maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.parts["text"], words.scores)


def test_more_normal_images_never_lengthen_a_distance():
    features, alignment, categories = look(9)
    one, two = (fitted(*seeds)(features, alignment, categories, SIZE) for seeds in ((1,), (1, 2)))
    assert (two.maps <= one.maps + 1e-6).all()
    assert (two.maps < one.maps - 1e-4).any()


def test_layers_differ_and_can_be_chosen():
    features, alignment, categories = look(3)
    fine, coarse, both = (
        fitted(1, layers=layers)(features, alignment, categories, SIZE).maps
        for layers in ((0,), (1,), None)
    )
    assert (fine - coarse).abs().max() > 1e-3
    torch.testing.assert_close((fine + coarse) / 2, both, atol=1e-6, rtol=1e-5)


def test_pixels_enlarge_logits_before_they_become_probabilities():
    features, alignment, categories = look(3)
    heads = [
        PatchText(output="probability", average=average, sigma_px=0.0)
        for average in ("pixels", "values")
    ]
    pixels, values = (head(features, alignment, categories, SIZE).maps for head in heads)
    expected = torch.zeros(3, *SIZE)
    for logits, grid in zip(alignment.patch_logits, alignment.grids, strict=True):
        maps = logits.transpose(1, 2).unflatten(2, grid)
        large = functional.interpolate(maps, SIZE, mode="bilinear", align_corners=False)
        expected += large.softmax(1)[:, 1] / 2
    torch.testing.assert_close(pixels, expected)
    assert (pixels - values).abs().max() > 1e-4


def test_too_many_images_and_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"at most 3 normal images of bottle .* set data\.shots"):
        fitted(1, 2, max_images=3)
    with pytest.raises(ValueError, match="expected layer to be one of 0, 1; got '2'"):
        fitted(1, layers=(2,))


def test_memory_takes_half_precision_of_every_token():
    head = fitted(1, 2)
    assert head.memory_0_0.shape == (2 * 2 * 16, 8)
    assert head.memory_1_1.shape == (2 * 1 * 4, 12)
    assert head.memory_0_0.dtype == torch.float16
    features, _, _ = look(1)
    moved = replace(features, tokens=tuple(5 * t for t in features.tokens))
    alignment = look(1)[1]
    plain, scaled = (
        head(f, alignment, ("bottle", "pcb1", "bottle"), SIZE).maps for f in (features, moved)
    )
    torch.testing.assert_close(plain, scaled, atol=1e-5, rtol=1e-4)
