from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from clad.losses.info_nce import InfoNCELoss, info_nce

EYE = torch.eye(4).bool()


def unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 5, dtype=torch.float64, generator=generator)
    return rows / rows.norm(dim=1, keepdim=True)


def test_by_hand() -> None:
    """Two orthogonal pairs at temperature 1: -log(e / (e + 1)) in every row and column."""
    eye = torch.eye(2)
    value = info_nce(eye, eye, eye.bool(), ~eye.bool(), 1.0).item()
    assert value == pytest.approx(math.log(1 + math.exp(-1)))


def test_reduces_to_clip_with_one_text_per_image() -> None:
    image, text = unit(4, 0), unit(4, 1)
    logits = image @ text.T / 0.07
    rows = torch.arange(4)
    clip = (functional.cross_entropy(logits, rows) + functional.cross_entropy(logits.T, rows)) / 2
    torch.testing.assert_close(info_nce(image, text, EYE, ~EYE, 0.07), clip)


def slow(image, text, positive, negative, temperature) -> float:
    logits = (image @ text.T / temperature).tolist()

    def direction(cell, pos, neg, rows, columns) -> float:
        costs = []
        for i in range(rows):
            own = [j for j in range(columns) if pos(i, j)]
            if own:
                rest = sum(math.exp(cell(i, k)) for k in range(columns) if neg(i, k))
                each = [
                    -math.log(math.exp(cell(i, j)) / (math.exp(cell(i, j)) + rest)) for j in own
                ]
                costs.append(sum(each) / len(each))
        return sum(costs) / len(costs)

    b, n = positive.shape
    by_row = direction(
        lambda i, j: logits[i][j], lambda i, j: positive[i, j], lambda i, j: negative[i, j], b, n
    )
    by_column = direction(
        lambda j, i: logits[i][j], lambda j, i: positive[i, j], lambda j, i: negative[i, j], n, b
    )
    return (by_row + by_column) / 2


@pytest.mark.parametrize("seed", range(3))
def test_matches_plain_loops_with_duplicates(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(4, 6, generator=generator) < 0.3
    positive[:, 0] = True
    positive[:, 5] = False
    negative = (torch.rand(4, 6, generator=generator) < 0.6) & ~positive
    image, text = unit(4, seed), unit(6, seed + 9)
    fast = info_nce(image, text, positive, negative, 0.5).item()
    assert fast == pytest.approx(slow(image, text, positive, negative, 0.5))


def test_duplicates_do_not_compete() -> None:
    """A copy of a pair changes nothing when its words are masked, and costs log 2 when not."""
    image = torch.eye(2, dtype=torch.float64)[[0, 0]]
    both = torch.ones(2, 2).bool()
    assert info_nce(image, image, both, ~both, 0.07).item() == pytest.approx(0)
    eye = torch.eye(2).bool()
    assert info_nce(image, image, eye, ~eye, 0.07).item() == pytest.approx(math.log(2))


def test_gradient() -> None:
    image, text = unit(4, 0).requires_grad_(), unit(4, 1).requires_grad_()
    positive = EYE.clone()
    positive[0, 1] = True
    assert torch.autograd.gradcheck(
        lambda a, b: info_nce(a, b, positive, ~positive, 0.3), (image, text)
    )


def test_gradient_is_finite_without_negatives() -> None:
    image = unit(4, 0).float().requires_grad_()
    info_nce(image, unit(4, 1).float(), EYE, torch.zeros_like(EYE), 0.07).backward()
    assert torch.equal(image.grad, torch.zeros_like(image))


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"expected a temperature > 0, got 0; CLIP's is 0\.07"):
        InfoNCELoss(temperature=0)
    with pytest.raises(ValueError, match="expected negative of shape"):
        info_nce(torch.eye(4), torch.eye(4), EYE, EYE[:2], 0.1)
    assert InfoNCELoss().name == "info_nce"
