"""Which pixels the pixel losses compare, through the modules as a task calls them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.alignment import align
from clad.losses.focal import focal
from clad.losses.patch_dice import PatchDice, dice
from clad.losses.patch_focal import PatchFocal
from clad.losses.pixels import logits_and_targets
from clad.prompts.single_pair import SinglePair
from clad.types import LossInputs

LOSSES = [
    PatchFocal(resolution="grid"),
    PatchFocal(resolution="image"),
    PatchDice(resolution="grid"),
    PatchDice(channels="both", resolution="image"),
    PatchFocal(resolution="image_probability"),
    PatchDice(channels="both", resolution="image_probability"),
]


def inputs_for(batch) -> LossInputs:
    tower = FakeTower()
    features = tower.encode_image(batch.images)
    prototypes = SinglePair()(tuple(dict.fromkeys(batch.categories)), tower)
    alignment = align(features, prototypes, batch.categories, tower.logit_scale)
    logits = tuple(layer.clone().requires_grad_() for layer in alignment.patch_logits)
    return LossInputs(batch, features, prototypes, replace(alignment, patch_logits=logits))


def test_grid_targets_are_fractions_of_pixels() -> None:
    batch = fake_batch(("bottle",), (1,))
    masks = torch.zeros(1, 32, 32, dtype=torch.bool)
    masks[0, 0:8, 0:4] = True  # half of the first of 4 x 4 patches
    masks[0, 8:16, 16:32] = True  # patches (1, 2) and (1, 3)
    layers = list(logits_and_targets(inputs_for(replace(batch, masks=masks)), "grid", "test"))
    fine = torch.zeros(4, 4)
    fine[0, 0], fine[1, 2:] = 0.5, 1
    torch.testing.assert_close(layers[0][1][0], fine)
    coarse = torch.tensor([[0.125, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(layers[1][1][0], coarse)
    assert [tuple(logits.shape) for logits, _ in layers] == [(1, 2, 4, 4), (1, 2, 2, 2)]


def test_logits_keep_their_place_on_the_grid() -> None:
    inputs = inputs_for(fake_batch())
    logits, _ = next(logits_and_targets(inputs, "grid", "test"))
    assert inputs.alignment is not None
    # Patch 6 of a 4 x 4 grid is row 1, column 2.
    torch.testing.assert_close(logits[1, :, 1, 2], inputs.alignment.patch_logits[0][1, 6])


def test_modules_sum_over_layers() -> None:
    inputs = inputs_for(fake_batch())
    layers = list(logits_and_targets(inputs, "image", "test"))
    assert all(targets.shape == (4, 32, 32) for _, targets in layers)
    by_hand = sum(focal(logits, targets, 1.5) for logits, targets in layers)
    torch.testing.assert_close(PatchFocal(gamma=1.5, resolution="image")(inputs), by_hand)
    both = sum(
        dice(logits.softmax(1)[:, 1], targets) + dice(logits.softmax(1)[:, 0], 1 - targets)
        for logits, targets in layers
    )
    torch.testing.assert_close(PatchDice(channels="both", resolution="image")(inputs), both)


def test_image_resolution_enlarges_logits_bilinearly() -> None:
    inputs = inputs_for(fake_batch())
    assert inputs.alignment is not None
    coarse = inputs.alignment.patch_logits[1].transpose(1, 2).reshape(4, 2, 2, 2)
    large = functional.interpolate(coarse, (32, 32), mode="bilinear")
    torch.testing.assert_close(list(logits_and_targets(inputs, "image", "t"))[1][0], large)


def test_image_resolution_may_enlarge_probabilities_instead() -> None:
    """AnomalyCLIP's order: softmax per patch, then bilinear; not the same as APRIL-GAN's."""
    inputs = inputs_for(fake_batch())
    assert inputs.alignment is not None
    coarse = inputs.alignment.patch_logits[1].softmax(-1).transpose(1, 2).reshape(4, 2, 2, 2)
    large = functional.interpolate(coarse, (32, 32), mode="bilinear")
    found = list(logits_and_targets(inputs, "image_probability", "t"))[1][0]
    torch.testing.assert_close(found.softmax(1), large)
    other = list(logits_and_targets(inputs, "image", "t"))[1][0]
    assert not torch.allclose(found.softmax(1), other.softmax(1), atol=1e-4)


def test_probabilities_that_underflow_stay_finite() -> None:
    inputs = inputs_for(fake_batch())
    assert inputs.alignment is not None
    far = tuple((1e4 * layer.detach()).requires_grad_() for layer in inputs.alignment.patch_logits)
    inputs = replace(inputs, alignment=replace(inputs.alignment, patch_logits=far))
    for loss in LOSSES:
        value = loss(inputs)
        value.backward()
        assert torch.isfinite(value)
        assert all(torch.isfinite(layer.grad).all() for layer in far)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name}-{loss.resolution}")
def test_images_without_a_mask_are_left_out(loss) -> None:
    batch = fake_batch(has_mask=(True, False, True, True))
    inputs = inputs_for(batch)
    value = loss(inputs)
    value.backward()
    assert inputs.alignment is not None
    for logits in inputs.alignment.patch_logits:
        assert (logits.grad.flatten(1).abs().sum(dim=1) > 0).tolist() == [True, False, True, True]
    turned = batch.masks.clone()
    turned[1] = ~turned[1]
    torch.testing.assert_close(loss(inputs_for(replace(batch, masks=turned))), value)
    known = fake_batch()
    rows = torch.tensor([0, 2, 3])
    layers = logits_and_targets(inputs, "grid", "test")
    whole = logits_and_targets(inputs_for(known), "grid", "test")
    for (logits, targets), (all_logits, all_targets) in zip(layers, whole, strict=True):
        torch.testing.assert_close(logits, all_logits[rows])
        torch.testing.assert_close(targets, all_targets[rows])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name}-{loss.resolution}")
def test_no_mask_at_all_is_a_zero_with_a_graph(loss) -> None:
    inputs = inputs_for(fake_batch(has_mask=(False,) * 4))
    value = loss(inputs)
    assert value.item() == 0
    value.backward()
    assert inputs.alignment is not None
    assert all(logits.grad.abs().sum() == 0 for logits in inputs.alignment.patch_logits)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name}-{loss.resolution}")
def test_the_true_map_costs_less_than_its_inverse(loss) -> None:
    inputs = inputs_for(fake_batch())
    assert inputs.alignment is not None
    values = []
    for sign in (1, -1):
        logits = tuple(
            sign * 10 * torch.stack([1 - 2 * t, 2 * t - 1], dim=1).flatten(2).transpose(1, 2)
            for _, t in logits_and_targets(inputs, "grid", "test")
        )
        alignment = replace(inputs.alignment, patch_logits=logits)
        values.append(loss(replace(inputs, alignment=alignment)).item())
    assert values[0] < 0.2 * values[1]


def test_missing_alignment_is_refused() -> None:
    inputs = replace(inputs_for(fake_batch()), alignment=None)
    for loss in LOSSES:
        with pytest.raises(ValueError, match=f"expected text logits for {type(loss).__name__}"):
            loss(inputs)
