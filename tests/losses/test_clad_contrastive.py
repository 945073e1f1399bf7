from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.losses.clad_contrastive import CladContrastive, double_hinge
from clad.prompts.single_pair import SinglePair
from clad.types import LossInputs


def unit(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, dtype=torch.float64, generator=generator)
    return rows / rows.norm(dim=1, keepdim=True)


def slow(image, text, positive, negative, alpha, beta, mean) -> float:
    total = 0.0
    for i, row in enumerate(image.tolist()):
        pull, push = [], []
        for j, column in enumerate(text.tolist()):
            d = sum((x - y) ** 2 for x, y in zip(row, column, strict=True))
            if positive[i][j]:
                pull.append(max(0.0, d - alpha))
            if negative[i][j]:
                push.append(max(0.0, beta - d))
        total += sum(pull) / len(pull) + sum(push) / (max(1, len(push)) if mean else 1)
    return total / len(image)


def test_by_hand() -> None:
    """Orthogonal unit vectors are 2 apart, equal ones 0, opposite ones 4."""
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    positive, negative = torch.eye(2).bool(), ~torch.eye(2).bool()
    # Image 0: matched (0), the other text is equal too: 1 - 0. Image 1: 2 - 0.2, the other is far.
    value = double_hinge(image, text, positive, negative, alpha=0.2, beta=1.0)
    assert value.item() == pytest.approx((1.0 + 1.8) / 2)


def test_zero_exactly_when_both_margins_hold() -> None:
    image = torch.eye(3, dtype=torch.float64)
    eye = torch.eye(3).bool()
    assert double_hinge(image, image, eye, ~eye, 0.2, 1.0).item() == 0
    assert double_hinge(image, image, eye, ~eye, 0.0, 2.0).item() == 0
    assert double_hinge(image, image, eye, ~eye, 0.0, 2.01).item() == pytest.approx(0.02)
    close = image.roll(1, dims=0)
    assert double_hinge(image, close, eye, ~eye, 0.2, 1.0).item() == pytest.approx(1.8 + 1.0)


def at(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


# d = 2 - 2 cos of the angle between: 0 at 0, 0.268 at 30, 1 at 60, 2 at 90, 3 at 120 degrees.
D30 = 2 - math.sqrt(3)
TABLE = {
    # (angles of images, angles of texts, alpha, beta): cost of each image
    "all margins hold": ((0, 90), (0, 90), 0.2, 1.0, (0, 0)),
    "on the margins": ((0, 60), (0, 60), 0.0, 1.0, (0, 0)),
    "matches within alpha": ((0, 90), (-30, 120), 0.3, 1.0, (0, 0)),
    "matches beyond alpha": ((0, 90), (-30, 120), 0.2, 1.0, (D30 - 0.2, D30 - 0.2)),
    "a negative within beta": ((0, 60), (0, 60), 0.2, 1.5, (0.5, 0.5)),
    "swapped": ((0, 90), (90, 0), 0.2, 1.0, (2 - 0.2 + 1, 2 - 0.2 + 1)),
    "one match far, its negative far": ((0, 90), (120, 90), 0.2, 1.0, (3 - 0.2, 1 - D30)),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_table_by_hand(row) -> None:
    images, texts, alpha, beta, costs = row
    image = torch.tensor([at(each) for each in images], dtype=torch.float64)
    text = torch.tensor([at(each) for each in texts], dtype=torch.float64)
    eye = torch.eye(2).bool()
    value = double_hinge(image, text, eye, ~eye, alpha, beta).item()
    assert value == pytest.approx(sum(costs) / 2, abs=1e-9)
    assert (value > 1e-9) == any(costs)


@pytest.mark.parametrize(("seed", "mean"), list(product(range(3), (False, True))))
def test_matches_plain_loops(seed, mean) -> None:
    image, text = unit(5, 4, seed), unit(7, 4, seed + 10)
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(5, 7, generator=generator) < 0.3
    positive[:, 0] = True
    negative = (torch.rand(5, 7, generator=generator) < 0.6) & ~positive
    negative[0] = False
    fast = double_hinge(image, text, positive, negative, 0.3, 1.7, "mean" if mean else "sum")
    assert fast.item() == pytest.approx(slow(image, text, positive, negative, 0.3, 1.7, mean))


def test_gradient() -> None:
    image, text = unit(4, 3, 0).requires_grad_(), unit(4, 3, 1).requires_grad_()
    eye = torch.eye(4).bool()
    for negatives in ("sum", "mean"):
        assert torch.autograd.gradcheck(
            lambda a, b, n=negatives: double_hinge(a, b, eye, ~eye, 0.2, 1.0, n), (image, text)
        )


def test_gradient_is_finite_where_image_and_text_coincide() -> None:
    image = torch.eye(2, requires_grad=True)
    double_hinge(image, torch.eye(2), torch.eye(2).bool(), torch.ones(2, 2).bool()).backward()
    assert torch.isfinite(image.grad).all()


def test_duplicates_cost_nothing() -> None:
    """Two images of one text: were the other's copy a negative, the loss could not be zero."""
    tower = FakeTower()
    prototypes = SinglePair()(("pcb1", "pcb2"), tower)  # both are "printed circuit board"
    batch = fake_batch(("pcb1", "pcb2"), (0, 0))
    features = tower.encode_image(batch.images)
    normal = prototypes.embeddings[:, 0]
    exact = features.__class__(
        features.tokens, features.grids, features.summary, features.patches, normal
    )
    anomalous = prototypes.embeddings[0, 1]
    beta = (normal[0] - anomalous).square().sum().item()
    loss = CladContrastive(alpha=0.0, beta=0.999 * beta)
    assert loss(LossInputs(batch, exact, prototypes, None)).item() == pytest.approx(0, abs=1e-9)
    stricter = CladContrastive(alpha=0.0, beta=1.5 * beta)
    # Two negatives each: the anomalous text once for pcb1 and once for pcb2.
    expected = 2 * 0.5 * beta
    found = stricter(LossInputs(batch, exact, prototypes, None)).item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (-0.1, 1.0), (0.2, 4.1)])
def test_impossible_margins_are_refused(alpha, beta) -> None:
    with pytest.raises(ValueError, match=r"expected 0 <= alpha < beta <= 4 .* got alpha="):
        CladContrastive(alpha=alpha, beta=beta)


def test_shapes_and_choices_are_checked() -> None:
    image, mask = torch.eye(2), torch.eye(2).bool()
    with pytest.raises(ValueError, match="expected text of shape"):
        double_hinge(image, torch.eye(3), mask, ~mask)
    with pytest.raises(ValueError, match=r"expected positive of shape \(2, 2\), got \(1, 2\)"):
        double_hinge(image, image, mask[:1], ~mask)
    with pytest.raises(ValueError, match="expected negatives to be one of mean, sum; got 'max'"):
        CladContrastive(negatives="max")  # type: ignore[arg-type]
    assert CladContrastive().name == "clad_contrastive"
