from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch import nn

from clad.losses.reconstruction import Reconstruction, reconstruction
from clad.prompts.defect_descriptions import DefectDescriptions
from clad.prompts.single_pair import SinglePair
from clad.types import LossInputs


def inputs_for(strategy=None, tower=None) -> LossInputs:
    tower = tower or FakeTower()
    batch = fake_batch()
    prototypes = (strategy or SinglePair())(("bottle", "pcb1"), tower)
    return LossInputs(batch, tower.encode_image(batch.images), prototypes, None)


def test_by_hand_and_plain_loops() -> None:
    decoded = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert reconstruction(decoded, target).item() == pytest.approx((1 + 4 + 9) / 4)
    a, b = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    pairs = zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    assert reconstruction(a, b).item() == pytest.approx(sum((x - y) ** 2 for x, y in pairs) / 12)
    with pytest.raises(ValueError, match=r"expected decoded of shape \(2, 2\), got \(2, 1\)"):
        reconstruction(decoded[:, :1], target)


def test_gradient() -> None:
    decoded = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: reconstruction(x, target), (decoded,))


class Constant(nn.Module):
    """Decodes everything to one value."""

    def __init__(self, value: float, width: int) -> None:
        super().__init__()
        self.value, self.width = value, width

    def forward(self, rows):
        return torch.full((len(rows), self.width), self.value)


def test_targets_are_what_they_say() -> None:
    inputs = inputs_for()
    loss = Reconstruction(reconstructs_text=False)
    loss.image_decoder = Constant(0.0, 12)
    summary = inputs.features.summary
    standard = (summary - summary.mean(1, keepdim=True)) / summary.std(
        1, keepdim=True, unbiased=False
    )
    assert loss(inputs).item() == pytest.approx(standard.square().mean().item(), rel=1e-3)
    small = Reconstruction(image_target="thumbnail", thumbnail_px=2, reconstructs_text=False)
    small.image_decoder = Constant(0.25, 12)
    blocks = inputs.batch.images.double().reshape(4, 3, 2, 16, 2, 16).mean(dim=(3, 5)) / 255
    assert small(inputs).item() == pytest.approx(((blocks - 0.25) ** 2).mean().item(), rel=1e-5)


def test_text_half_uses_the_bank_where_there_is_one() -> None:
    for strategy in (SinglePair(), DefectDescriptions()):
        inputs = inputs_for(strategy)
        prototypes = inputs.prototypes
        text = prototypes.bank.embeddings if prototypes.bank else prototypes.embeddings
        loss = Reconstruction()
        loss.attach(FakeTower())
        loss.image_decoder, loss.text_decoder = Constant(0.0, 12), Constant(1.0, 16)
        image_half = Reconstruction(reconstructs_text=False)
        image_half.image_decoder = loss.image_decoder
        difference = (loss(inputs) - image_half(inputs)).item()
        assert difference == pytest.approx(((text - 1) ** 2).mean().item(), rel=1e-4)


@pytest.mark.parametrize("target", ["summary", "thumbnail"])
def test_decoders_learn_and_the_loss_falls(target) -> None:
    torch.manual_seed(0)
    inputs, loss = inputs_for(), Reconstruction(image_target=target, thumbnail_px=4)
    loss.attach(FakeTower())
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    before = loss(inputs).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss(inputs).backward()
        optimizer.step()
    assert loss(inputs).item() < 0.5 * before


def test_gradient_reaches_embeddings_but_not_targets() -> None:
    inputs = inputs_for()
    pooled = inputs.features.pooled.clone().requires_grad_()
    summary = inputs.features.summary.clone().requires_grad_()
    features = replace(inputs.features, pooled=pooled, summary=summary)
    loss = Reconstruction()
    loss.attach(FakeTower())
    loss(replace(inputs, features=features)).backward()
    assert pooled.grad.abs().sum() > 0
    assert summary.grad is None


def test_refusals() -> None:
    inputs = inputs_for()
    with pytest.raises(ValueError, match=r"expected attach\(tower\) before the first batch"):
        Reconstruction()(inputs)
    loss = Reconstruction()
    loss.attach(FakeTower())
    with pytest.raises(ValueError, match="expected text prototypes to reconstruct, got none"):
        loss(replace(inputs, prototypes=None))
    with pytest.raises(ValueError, match="expected pooled image embeddings"):
        loss(replace(inputs, features=replace(inputs.features, pooled=None)))
    with pytest.raises(ValueError, match="expected image_target to be one of summary, thumbnail"):
        Reconstruction(image_target="pixels")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of at least 1, got 0 and 16"):
        Reconstruction(hidden_dim=0)


def test_lambda_may_be_zero_and_scales_nothing_but_the_sum() -> None:
    assert Reconstruction(weight=0.0).weight == 0
    assert Reconstruction().weight == 0.1
    inputs, loss = inputs_for(), Reconstruction(weight=3.0, reconstructs_text=False)
    loss.image_decoder = Constant(0.0, 12)
    lighter = Reconstruction(weight=0.1, reconstructs_text=False)
    lighter.image_decoder = loss.image_decoder
    assert loss(inputs).item() == lighter(inputs).item()
    with pytest.raises(ValueError, match=r"expected a loss weight >= 0, got -0\.1; use 0"):
        Reconstruction(weight=-0.1)
