"""The seam of a blend, by hand, and the loss against it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fakes import fake_batch
from scipy.ndimage import gaussian_filter

from clad.losses.boundary import Boundary, boundary_map
from clad.types import Alignment, ImageFeatures, LossInputs


def inputs_of(batch, *layers):
    """Logits (0, margin) of each layer of margins (B, h, w)."""
    logits = tuple(torch.stack([0 * m, m], -1).flatten(1, 2) for m in layers)
    grids = tuple((m.shape[1], m.shape[2]) for m in layers)
    alignment = Alignment(torch.zeros(len(batch), 2), logits, grids)
    return LossInputs(batch, ImageFeatures((), (), torch.zeros(len(batch), 1)), None, alignment)


def test_seam_of_soft_masks_by_hand():
    mask = torch.tensor([[[0.0, 0.25, 0.5, 1.0]]])
    torch.testing.assert_close(boundary_map(mask, 0), torch.tensor([[[0.0, 0.75, 1.0, 0.0]]]))


def test_a_hard_mask_is_softened_as_scipy_does():
    mask = torch.zeros(1, 24, 32, dtype=torch.bool)
    mask[:, 6:15, 8:20] = True
    soft = gaussian_filter(mask[0].double().numpy(), 2.0)
    expected = torch.from_numpy(4 * soft * (1 - soft)).float()
    torch.testing.assert_close(boundary_map(mask, 2.0)[0], expected, atol=1e-5, rtol=1e-4)


def test_the_middle_of_a_large_area_and_a_real_image_have_no_seam():
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, :, :32] = True
    seam = boundary_map(masks, 3.0)
    assert not seam[1].any()
    assert seam[0, :, :12].max() < 1e-3
    assert seam[0, :, 31:33].min() > 0.9


def test_loss_is_the_cross_entropy_of_each_patch_by_hand():
    batch = fake_batch(("face",) * 2, (0, 1), image_size=(2, 4))
    masks = torch.zeros(2, 2, 4)
    masks[1] = torch.tensor([[0.0, 0.5, 1.0, 1.0], [0.0, 0.5, 1.0, 0.5]])
    batch = replace(batch, masks=masks)
    margins = torch.tensor([[[-1.0, 2.0]], [[0.5, -0.5]]])

    def cost(margin, target):
        p = 1 / (1 + math.exp(-margin))
        return -target * math.log(p) - (1 - target) * math.log(1 - p)

    # Seams of the left and right halves: (0, 1, 0, 1) / 4 and (0, 0, 0, 1) / 4.
    cells = [cost(-1, 0), cost(2, 0), cost(0.5, 0.5), cost(-0.5, 0.25)]
    found = Boundary(sigma_px=0)(inputs_of(batch, margins))
    assert found.item() == pytest.approx(sum(cells) / 4)
    twice = Boundary(sigma_px=0)(inputs_of(batch, margins, margins))
    assert twice.item() == pytest.approx(sum(cells) / 2)


def test_images_without_a_mask_are_left_out():
    batch = fake_batch(has_mask=(True, True, False, False))
    margins = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    first = replace(batch, masks=batch.masks.clone())
    first.masks[2:] = True
    assert Boundary()(inputs_of(first, margins)) == Boundary()(inputs_of(batch, margins))
    none = replace(batch, has_mask=torch.zeros(4, dtype=torch.bool))
    margins.requires_grad_()
    zero = Boundary()(inputs_of(none, margins))
    zero.backward()
    assert zero.item() == 0
    assert margins.grad is not None


def test_gradient():
    batch = fake_batch()
    margins = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    margins = margins.double().requires_grad_()
    loss = Boundary(sigma_px=2)

    def value(m):
        logits = torch.stack([0 * m, m], -1).flatten(1, 2)
        inputs = inputs_of(batch, m.detach().float())
        return loss(replace(inputs, alignment=replace(inputs.alignment, patch_logits=(logits,))))

    found = torch.autograd.grad(value(margins), margins)[0]
    step = torch.zeros_like(margins)
    step[1, 2, 1] = 0.01
    slope = (value(margins + step) - value(margins - step)) / 0.02
    assert found[1, 2, 1].item() == pytest.approx(slope.item(), abs=2e-5)


def test_a_head_without_patches_and_a_bad_softness_are_refused():
    with pytest.raises(ValueError, match="expected patch logits for Boundary, got none; set patch"):
        Boundary()(inputs_of(fake_batch()))
    with pytest.raises(ValueError, match=r"expected sigma_px in \[0, 1000\], got -1"):
        Boundary(sigma_px=-1)
