from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fakes import fake_batch

from clad.losses.patch_dice import PatchDice, dice
from clad.types import Alignment, ImageFeatures, LossInputs


def test_by_hand() -> None:
    """Overlap 1 of masses 1.5 and 2: (2 + 1) / (3.5 + 1). Empty truth: 1 / (1.5 + 1)."""
    probability = torch.tensor([[1.0, 0.0, 0.5, 0.0]] * 2)
    targets = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0] * 4])
    expected = (1 - 3 / 4.5 + 1 - 1 / 2.5) / 2
    assert dice(probability, targets).item() == pytest.approx(expected)


def test_perfect_and_empty_are_zero() -> None:
    mask = (torch.rand(3, 4, 4) > 0.5).float()
    assert dice(mask, mask).item() == pytest.approx(0)
    assert dice(torch.zeros(2, 4), torch.zeros(2, 4)).item() == 0


@pytest.mark.parametrize("smooth", [1e-3, 1.0])
def test_matches_plain_loops(smooth) -> None:
    p, t = (torch.rand(3, 4, 5, dtype=torch.float64) for _ in range(2))
    costs = []
    for row, truth in zip(p.flatten(1).tolist(), t.flatten(1).tolist(), strict=True):
        both = sum(a * b for a, b in zip(row, truth, strict=True))
        costs.append(1 - (2 * both + smooth) / (sum(row) + sum(truth) + smooth))
    assert dice(p, t, smooth).item() == pytest.approx(sum(costs) / 3)


def test_gradient() -> None:
    p = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    t = torch.rand(2, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: dice(x, t), (p,))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected smooth > 0, got 0; the papers use 1"):
        PatchDice(smooth=0)
    with pytest.raises(ValueError, match="expected channels to be one of anomalous, both"):
        PatchDice(channels="normal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected targets of shape \(1, 4\), got \(1, 3\)"):
        dice(torch.zeros(1, 4), torch.zeros(1, 3))


def test_rows_of_pixels_by_hand() -> None:
    """AdaCLIP's batches of one image: each row of pixels is compared by itself."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])[None]
    mask = torch.tensor([[[True, False], [False, False]]])
    batch = replace(fake_batch(("bottle",), (1,), image_size=(2, 2)), masks=mask)
    alignment = Alignment(torch.zeros(1, 2), (logits,), ((2, 2),))
    features = ImageFeatures((), (), torch.zeros(1, 1))
    found = PatchDice(overlap="row")(LossInputs(batch, features, None, alignment))
    # p = 3/4 and 1/2 against 1, 0: 2 * 0.75 + 1 over 1.25 + 1 + 1; 1/2 and 1/2 against nothing.
    first, second = 1 - (1.5 + 1) / (1.25 + 1 + 1), 1 - 1 / (1 + 1)
    assert found.item() == pytest.approx((first + second) / 2)
    whole = PatchDice()(LossInputs(batch, features, None, alignment))
    assert whole.item() == pytest.approx(1 - (1.5 + 1) / (2.25 + 1 + 1))
    with pytest.raises(ValueError, match="expected overlap to be one of image, row; got 'line'"):
        PatchDice(overlap="line")  # type: ignore[arg-type]
