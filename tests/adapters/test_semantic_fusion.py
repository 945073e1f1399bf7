from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.adapters.clusters import mean_of_anomalous_clusters, most_anomalous_cluster
from clad.adapters.semantic_fusion import SemanticFusion
from clad.adapters.token_projection import TokenProjection
from clad.alignment import align
from clad.types import Alignment, ImageFeatures, TextPrototypes

FIND = {"paper": most_anomalous_cluster, "code": mean_of_anomalous_clusters}
NAMES = ("a", "b", "a")


def unit(*shape: int) -> torch.Tensor:
    return functional.normalize(torch.randn(*shape), dim=-1)


def example(seed: int = 0) -> tuple[ImageFeatures, Alignment, torch.Tensor]:
    """Three images with two layers of 6 x 6 patches, and the prototypes of each."""
    torch.manual_seed(seed)
    patches = (unit(3, 36, 8).requires_grad_(), unit(3, 36, 8).requires_grad_())
    pooled = unit(3, 8).requires_grad_()
    features = ImageFeatures(patches, ((6, 6),) * 2, pooled, patches, pooled)
    prototypes = TextPrototypes(("a", "b"), unit(2, 2, 8))
    alignment = align(features, prototypes, NAMES, 100.0)
    return features, alignment, prototypes.for_images(NAMES)


@pytest.mark.parametrize("variant", FIND)
def test_logits_are_those_of_the_mixed_image_vector(variant):
    features, alignment, text = example()
    found = SemanticFusion(variant=variant, num_clusters=3).refine(features, alignment)
    for image in range(3):
        patches = torch.stack([layer[image] for layer in features.patches])
        logits = torch.stack([layer[image] for layer in alignment.patch_logits])
        weights = FIND[variant](patches.detach(), logits.detach(), 3)
        centroid = functional.normalize((weights[..., None] * patches).sum((0, 1)), dim=0)
        mixed = functional.normalize(0.2 * centroid + 0.8 * features.pooled[image], dim=0)
        expected = 100.0 * text[image] @ mixed
        torch.testing.assert_close(found.image_logits[image], expected, rtol=0, atol=1e-4)
    assert found.patch_logits is alignment.patch_logits


def test_a_share_of_nothing_or_everything():
    features, alignment, text = example()
    same = SemanticFusion(share=0.0).refine(features, alignment)
    torch.testing.assert_close(same.image_logits, alignment.image_logits, rtol=0, atol=1e-4)
    alone = SemanticFusion(share=1.0, num_clusters=1, variant="paper").refine(features, alignment)
    mean = functional.normalize(torch.cat(features.patches, 1).mean(1), dim=-1)
    expected = 100.0 * torch.einsum("bkd,bd->bk", text, mean)
    torch.testing.assert_close(alone.image_logits, expected, rtol=0, atol=1e-4)


def test_gradients_reach_patches_and_image_vector():
    features, alignment, _ = example()
    SemanticFusion(num_clusters=2).refine(features, alignment).image_logits[:, 1].sum().backward()
    assert features.pooled.grad.abs().sum() > 0
    touched = features.patches[0].grad.abs().sum(-1) > 0
    assert touched.sum(1).tolist() == [10, 10, 10], "5 patches for each of 2 clusters"


def test_it_repeats_and_an_image_counts_alone():
    features, alignment, _ = example()
    fusion = SemanticFusion(num_clusters=4)
    found = fusion.refine(features, alignment).image_logits
    assert torch.equal(fusion.refine(features, alignment).image_logits, found)
    alone = features.map(lambda each: each[1:2])
    row = replace(
        alignment,
        image_logits=alignment.image_logits[1:2],
        patch_logits=tuple(layer[1:2] for layer in alignment.patch_logits),
    )
    torch.testing.assert_close(fusion.refine(alone, row).image_logits, found[1:2])


def test_the_adapter_before_is_attached_asked_and_refines_first():
    class Halved(TokenProjection):
        def refine(self, features, alignment):
            return replace(alignment, image_logits=alignment.image_logits / 2)

    tower, inner = FakeTower(aligned=False), Halved(hidden_dim=8)
    fusion = SemanticFusion(inner, share=0.0)
    assert fusion.aligns
    assert fusion.logit_scale is not None
    fusion.attach(tower)
    batch = fake_batch()
    features = fusion.eval()(tower.encode_image(batch.images))
    assert features.is_aligned
    text = TextPrototypes(("bottle", "pcb1"), unit(2, 2, tower.embed_dim))
    alignment = align(features, text, batch.categories, 10.0)
    found = fusion.refine(features, alignment).image_logits
    torch.testing.assert_close(found, alignment.image_logits / 2)


def test_without_an_adapter_features_pass():
    features, _, _ = example()
    fusion = SemanticFusion()
    fusion.attach(FakeTower())
    assert fusion(features) is features
    assert not fusion.aligns
    assert fusion.logit_scale is None


def test_refusals():
    with pytest.raises(ValueError, match="expected variant to be one of code, paper; got 'both'"):
        SemanticFusion(variant="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected share in \[0, 1\], got 2"):
        SemanticFusion(share=2.0)
    features, alignment, _ = example()
    uneven = replace(alignment, grids=((6, 6), (4, 9)))
    with pytest.raises(ValueError, match=r"on one grid .* got \[\(4, 9\), \(6, 6\)\]"):
        SemanticFusion().refine(features, uneven)
