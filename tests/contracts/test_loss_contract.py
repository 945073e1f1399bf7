"""Every loss of configs/losses keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import FakeTower, build_slot, fake_batch

from clad.alignment import align
from clad.losses.base import Loss
from clad.prompts.defect_descriptions import DefectDescriptions
from clad.prompts.single_pair import SinglePair
from clad.types import ImageFeatures, LossInputs

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "losses").glob("*.yaml"))
STRATEGIES = {"bank": DefectDescriptions, "prototypes": SinglePair}


def build(path: Path) -> list[Loss]:
    losses = build_slot(path, "losses", list[Loss])
    for loss in losses:
        loss.attach(FakeTower())
    return losses


def grown(features: ImageFeatures) -> ImageFeatures:
    """The same features as leaves that take gradients."""
    return replace(
        features,
        patches=tuple(layer.clone().requires_grad_() for layer in features.patches),
        pooled=features.pooled.clone().requires_grad_(),
    )


def inputs_for(strategy: str = "bank", **of_batch) -> LossInputs:
    tower, batch = FakeTower(), fake_batch(**of_batch)
    features = grown(tower.encode_image(batch.images))
    prototypes = STRATEGIES[strategy]()(tuple(dict.fromkeys(batch.categories)), tower)
    words = prototypes.embeddings.clone().requires_grad_()
    prototypes = replace(prototypes, embeddings=words)
    alignment = align(features, prototypes, batch.categories, tower.logit_scale)
    return LossInputs(batch, features, prototypes, alignment)


def reached(features: ImageFeatures) -> float:
    leaves = [features.pooled, *features.patches]
    assert all(leaf.grad is None or torch.isfinite(leaf.grad).all() for leaf in leaves)
    return sum(leaf.grad.abs().sum().item() for leaf in leaves if leaf.grad is not None)


def test_configs_are_found() -> None:
    assert {"clad", "info_nce", "cross_entropy", "focal_dice"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_loss_is_a_finite_scalar_whose_gradient_reaches_what_it_looks_at(
    path, strategy
) -> None:
    for loss in build(path):
        inputs = inputs_for(strategy)
        value = loss(inputs)
        assert value.shape == ()
        assert torch.isfinite(value)
        assert value.item() > 0, loss.name
        value.backward()
        other = loss(inputs_for(strategy, seed=1))
        if torch.equal(other, value):  # it looks at words alone
            assert inputs.prototypes.embeddings.grad.any(), loss.name
        else:
            assert reached(inputs.features) > 0, loss.name
        learnt = [parameter for parameter in loss.parameters() if parameter.requires_grad]
        assert all(parameter.grad is not None for parameter in learnt), loss.name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_batch_without_masks_or_of_one_class_works(path) -> None:
    for loss in build(path):
        for of_batch in ({"has_mask": (False,) * 4}, {"labels": (0,) * 4}, {"labels": (1,) * 4}):
            inputs = inputs_for(**of_batch)
            value = loss(inputs)
            assert torch.isfinite(value), loss.name
            value.backward()
            reached(inputs.features)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_order_of_images_does_not_matter(path) -> None:
    order = [2, 0, 3, 1]
    for loss in build(path):
        inputs = inputs_for()
        batch, features = inputs.batch, inputs.features
        turned = replace(
            batch,
            images=batch.images[order],
            labels=batch.labels[order],
            masks=batch.masks[order],
            has_mask=batch.has_mask[order],
            categories=tuple(batch.categories[row] for row in order),
            defect_types=tuple(batch.defect_types[row] for row in order),
        )
        moved = replace(
            features,
            tokens=tuple(layer[order] for layer in features.tokens),
            summary=features.summary[order],
            patches=tuple(layer[order] for layer in features.patches),
            pooled=features.pooled[order],
        )
        alignment = align(moved, inputs.prototypes, turned.categories, 10.0)
        other = LossInputs(turned, moved, inputs.prototypes, alignment)
        torch.testing.assert_close(loss(other), loss(inputs))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_names_differ_and_weights_are_checked(path) -> None:
    losses = build(path)
    assert len({loss.name for loss in losses}) == len(losses)
    for loss in losses:
        assert loss.name.isidentifier()
        assert loss.weight >= 0
        with pytest.raises(ValueError, match="expected a loss weight >= 0, got -1"):
            type(loss)(weight=-1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_half_precision_stays_finite(path) -> None:
    for loss in build(path):
        inputs = inputs_for()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            alignment = align(inputs.features, inputs.prototypes, inputs.batch.categories, 100.0)
            value = loss(replace(inputs, alignment=alignment))
        value.backward()
        assert torch.isfinite(value)
        reached(inputs.features)
