"""Which pixels the pixel losses compare, through the modules as a task calls them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.alignment import align
from clad.losses.patch_dice import PatchDice, dice
from clad.losses.patch_focal import PatchFocal
from clad.losses.pixels import margins_and_targets
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
    layers = list(margins_and_targets(inputs_for(replace(batch, masks=masks)), "grid", "test"))
    fine = torch.zeros(4, 4)
    fine[0, 0], fine[1, 2:] = 0.5, 1
    torch.testing.assert_close(layers[0][1][0], fine)
    coarse = torch.tensor([[0.125, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(layers[1][1][0], coarse)
    assert [tuple(margins.shape) for margins, _ in layers] == [(1, 4, 4), (1, 2, 2)]


def test_margins_keep_their_place_on_the_grid() -> None:
    inputs = inputs_for(fake_batch())
    margins, _ = next(margins_and_targets(inputs, "grid", "test"))
    assert inputs.alignment is not None
    # Patch 6 of a 4 x 4 grid is row 1, column 2.
    normal, anomalous = inputs.alignment.patch_logits[0][1, 6]
    torch.testing.assert_close(margins[1, 1, 2], anomalous - normal)


def enlarged(inputs: LossInputs, layer: int) -> torch.Tensor:
    """(4, 2, 32, 32) logits of a layer at image size, both channels, as in APRIL-GAN's code."""
    assert inputs.alignment is not None
    grid = inputs.alignment.grids[layer]
    coarse = inputs.alignment.patch_logits[layer].transpose(1, 2).unflatten(2, grid)
    return functional.interpolate(coarse, (32, 32), mode="bilinear")


def slow_focal(logits: torch.Tensor, targets: torch.Tensor, gamma: float) -> torch.Tensor:
    """Mean of -(1 - p)^gamma log p with the probability p of the true side."""
    p = logits.softmax(1)
    true = torch.where(targets.bool(), p[:, 1], p[:, 0])
    return (-((1 - true) ** gamma) * true.log()).mean()


def test_modules_sum_over_layers() -> None:
    inputs = inputs_for(fake_batch())
    layers = [enlarged(inputs, layer) for layer in (0, 1)]
    targets = inputs.batch.masks.float()
    by_hand = sum(slow_focal(logits, targets, 1.5) for logits in layers)
    torch.testing.assert_close(PatchFocal(gamma=1.5, resolution="image")(inputs), by_hand)
    both = sum(
        dice(logits.softmax(1)[:, 1], targets) + dice(logits.softmax(1)[:, 0], 1 - targets)
        for logits in layers
    )
    torch.testing.assert_close(PatchDice(channels="both", resolution="image")(inputs), both)


def test_image_resolution_enlarges_logits_bilinearly() -> None:
    inputs = inputs_for(fake_batch())
    for layer, (margins, masks) in enumerate(margins_and_targets(inputs, "image", "t")):
        logits = enlarged(inputs, layer)
        torch.testing.assert_close(margins, logits[:, 1] - logits[:, 0])
        assert torch.equal(masks, inputs.batch.masks)


def test_image_resolution_is_exact_under_autocast() -> None:
    inputs = inputs_for(fake_batch())
    plain = PatchFocal(resolution="image")(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(PatchFocal(resolution="image")(inputs), plain)


def test_image_resolution_may_enlarge_probabilities_instead() -> None:
    """AnomalyCLIP's order: softmax per patch, then bilinear; not the same as APRIL-GAN's."""
    inputs = inputs_for(fake_batch())
    assert inputs.alignment is not None
    coarse = inputs.alignment.patch_logits[1].softmax(-1).transpose(1, 2).reshape(4, 2, 2, 2)
    large = functional.interpolate(coarse, (32, 32), mode="bilinear")
    found = list(margins_and_targets(inputs, "image_probability", "t"))[1][0]
    torch.testing.assert_close(found.sigmoid(), large[:, 1])
    other = list(margins_and_targets(inputs, "image", "t"))[1][0]
    assert not torch.allclose(found.sigmoid(), other.sigmoid(), atol=1e-4)


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
    layers = margins_and_targets(inputs, "grid", "test")
    whole = margins_and_targets(inputs_for(known), "grid", "test")
    for (margins, targets), (all_margins, all_targets) in zip(layers, whole, strict=True):
        torch.testing.assert_close(margins, all_margins[rows])
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
            for _, t in margins_and_targets(inputs, "grid", "test")
        )
        alignment = replace(inputs.alignment, patch_logits=logits)
        values.append(loss(replace(inputs, alignment=alignment)).item())
    assert values[0] < 0.2 * values[1]


def test_missing_alignment_is_refused() -> None:
    inputs = replace(inputs_for(fake_batch()), alignment=None)
    for loss in LOSSES:
        with pytest.raises(ValueError, match=f"expected text logits for {type(loss).__name__}"):
            loss(inputs)
