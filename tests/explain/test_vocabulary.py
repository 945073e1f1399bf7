"""Ranked descriptions: cosines computed by hand, slow loops, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clad.explain.regions import hottest_area
from clad.explain.vocabulary import (
    best_per_type,
    describe_images,
    describe_regions,
    image_vectors,
    rank_descriptions,
    region_vectors,
)
from clad.types import DescriptionBank, ImageFeatures

NUT = (
    ("a whole nut", 0, "good"),
    ("a nut with a scratch", 1, "scratch"),
    ("a scratched nut", 1, "scratch"),
    ("a bent nut", 1, "bent"),
    ("a flawless nut", 0, "good"),
)


def nut_bank() -> DescriptionBank:
    """Five descriptions of nuts and two of tiles on the axes of a space of seven."""
    texts, labels, kinds = zip(
        *NUT, ("a whole tile", 0, "good"), ("a cracked tile", 1, "crack"), strict=True
    )
    owners = ("metal_nut",) * 5 + ("tile",) * 2
    return DescriptionBank(texts, torch.eye(7), owners, labels, kinds)


def features_of(pooled: torch.Tensor, patches: tuple[torch.Tensor, ...] | None) -> ImageFeatures:
    sides = ((2, 2), (1, 1))
    tokens = tuple(torch.zeros(len(pooled), h * w, 3) for h, w in sides)
    return ImageFeatures(tokens, sides, torch.zeros(len(pooled), 3), patches, pooled)


def test_ranking_is_by_cosine_within_the_category() -> None:
    vector = torch.tensor([[0.1, 0.1, 0.7, 0.5, 0.5, 0.0, 0.0]])
    vector = functional.normalize(vector, dim=1)
    length = float(torch.tensor([0.1, 0.1, 0.7, 0.5, 0.5]).norm())
    (ranking,) = rank_descriptions(vector, nut_bank(), ("metal_nut",))
    assert [each.text for each in ranking] == ["a scratched nut", "a bent nut", NUT[1][0]]
    assert [each.defect_type for each in ranking] == ["scratch", "bent", "scratch"]
    assert [each.similarity for each in ranking] == pytest.approx(
        [0.7 / length, 0.5 / length, 0.1 / length]
    )
    assert [each.margin for each in ranking] == pytest.approx(
        [0.2 / length, 0.0, -0.4 / length], abs=1e-6
    )
    assert {each.level for each in ranking} == {"image"}
    assert [each.text for each in best_per_type(ranking)] == ["a scratched nut", "a bent nut"]


def test_each_image_is_compared_with_its_own_category() -> None:
    vectors = torch.eye(7)[[6, 3]]
    tile, nut = rank_descriptions(vectors, nut_bank(), ("tile", "metal_nut"), level="region")
    assert [each.text for each in tile] == ["a cracked tile"]
    assert (tile[0].similarity, tile[0].margin, tile[0].level) == (1.0, 1.0, "region")
    assert nut[0].defect_type == "bent"


def test_order_of_the_bank_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = functional.normalize(torch.randn(7, 7, generator=generator), dim=1)
    vectors = functional.normalize(torch.randn(3, 7, generator=generator), dim=1)
    bank = nut_bank()
    order = [3, 5, 0, 2, 6, 4, 1]
    kept = DescriptionBank(bank.texts, embeddings, *_rest(bank, range(7)))
    turned = DescriptionBank(
        tuple(bank.texts[n] for n in order), embeddings[order], *_rest(bank, order)
    )
    names = ("metal_nut", "tile", "metal_nut")
    assert rank_descriptions(vectors, kept, names) == rank_descriptions(vectors, turned, names)


def _rest(bank: DescriptionBank, order):
    fields = (bank.class_names, bank.labels, bank.defect_types)
    return tuple(tuple(each[n] for n in order) for each in fields)


def test_region_vector_is_the_mean_of_what_the_area_covers() -> None:
    fine = functional.normalize(
        torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]]), dim=-1
    )
    coarse = torch.tensor([[[0.0, 0, 1]]])
    features = features_of(torch.tensor([[1.0, 0, 0]]), (fine, coarse))
    area = torch.zeros(1, 4, 4, dtype=torch.bool)
    area[0, 0, 0:3] = True  # two pixels of patch 0, one of patch 1
    expected = torch.tensor([2 / 3, 1 / 3, 0]) + torch.tensor([0.0, 0, 1])
    torch.testing.assert_close(region_vectors(features, area)[0], expected / expected.norm())


def test_region_vectors_agree_with_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    patches = functional.normalize(torch.randn(3, 15, 8, generator=generator), dim=-1)
    features = ImageFeatures(
        (torch.zeros(3, 4, 2),), ((2, 2),), torch.zeros(3, 2), (patches,),
        patches[:, 0], patch_grids=((3, 5),),
    )  # fmt: skip
    areas = torch.rand(3, 12, 20, generator=generator) > 0.7
    found = region_vectors(features, areas)
    for image in range(3):
        total = torch.zeros(8)
        for row, column in np.argwhere(areas[image].numpy()):
            total += patches[image, row // 4 * 5 + column // 4]
        torch.testing.assert_close(found[image], total / total.norm())


def test_words_come_from_the_whole_image_or_its_hottest_area() -> None:
    bank = nut_bank()
    patches = torch.eye(7)[[0, 1, 3, 0]][None]
    whole = torch.eye(7)[[1]]
    features = ImageFeatures(
        (torch.zeros(1, 4, 2),), ((2, 2),), torch.zeros(1, 2), (patches,), whole
    )
    maps = torch.zeros(1, 8, 8)
    maps[0, 5:7, 1:3] = 2.0  # in patch 2, which says "bent"
    assert hottest_area(maps[0].numpy()).sum() == 4
    (of_region,) = describe_regions(features, maps, bank, ("metal_nut",))
    (of_image,) = describe_images(features, bank, ("metal_nut",))
    assert [each.defect_type for each in of_region] == ["bent", "scratch"]
    assert [each.defect_type for each in of_image] == ["scratch", "bent"]
    assert (of_region[0].level, of_image[0].level) == ("region", "image")


def test_features_of_the_trunk_are_refused() -> None:
    trunk = ImageFeatures((torch.zeros(1, 4, 3),), ((2, 2),), torch.zeros(1, 3))
    for refused in (
        lambda: image_vectors(trunk),
        lambda: region_vectors(trunk, torch.ones(1, 4, 4, dtype=torch.bool)),
        lambda: describe_images(trunk, nut_bank(), ("tile",)),
        lambda: describe_regions(trunk, torch.ones(1, 4, 4), nut_bank(), ("tile",)),
    ):
        with pytest.raises(ValueError, match="expected features aligned with words, got trunk"):
            refused()


def test_other_mistakes_are_refused() -> None:
    bank = nut_bank()
    with pytest.raises(ValueError, match=r"expected vectors of shape \(1, 7\), got \(1, 5\)"):
        rank_descriptions(torch.eye(5)[:1], bank, ("tile",))
    with pytest.raises(ValueError, match="expected vectors of unit norm"):
        rank_descriptions(torch.ones(1, 7), bank, ("tile",))
    with pytest.raises(ValueError, match=r"descriptions of screw, got 0 and 0; .* metal_nut, tile"):
        rank_descriptions(torch.eye(7)[:1], bank, ("screw",))
    features = features_of(torch.eye(7)[:1], (torch.eye(7)[:4][None], torch.eye(7)[:1][None]))
    with pytest.raises(ValueError, match="areas of at least one pixel, got an empty one"):
        region_vectors(features, torch.zeros(1, 4, 4, dtype=torch.bool))
