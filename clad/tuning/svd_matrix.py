"""A bare weight matrix of which only the smallest singular directions learn.

Letters in shapes: N matrices stacked in one weight (3 where queries, keys and values are packed),
O outputs and I inputs of each, R learning directions.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from clad.checks import expect_range


class SvdResidual(nn.Module):
    """Weight W -> W - U0 S0 V0 + U S V, where U0 S0 V0 are the R smallest singular directions of W.

    ``W - U0 S0 V0`` has the rank of W less R and never changes. U, S and V start as U0, S0 and V0,
    so the two terms cancel to the last bit, and the weight is W itself when made. What the learning
    part replaces is kept beside it: another machine's decomposition may differ where singular
    values lie close together.

    As a parametrization it is seen by whoever reads the weight: attention among values reads
    ``in_proj_weight`` of a block directly.

    Source: Effort (Yan et al., ICML 2025, arXiv:2411.15633); R = 1 in its code.

    Args:
        weight: (N x O, I) float, or with more dimensions of size 1 after them (a pointwise
            convolution); what is learnt lies on its device, in float32.
        rank: R, from 1 to min(O, I) - 1.
        num_stacked: N, matrices that are decomposed apart.

    Raises:
        ValueError: If nothing would be left of a matrix.
    """

    svd_left: Tensor
    svd_values: Tensor
    svd_right: Tensor
    svd_left_start: Tensor
    svd_values_start: Tensor
    svd_right_start: Tensor

    def __init__(self, weight: Tensor, rank: int = 1, num_stacked: int = 1) -> None:
        super().__init__()
        matrices = weight.detach().float().flatten(1).unflatten(0, (num_stacked, -1))
        expect_range("rank", rank, 1, min(matrices.shape[1:]) - 1)
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        parts = {
            "svd_left": left[..., -rank:],  # (N, O, R)
            "svd_values": values[..., -rank:],  # (N, R)
            "svd_right": right[..., -rank:, :],  # (N, R, I)
        }
        for name, part in parts.items():
            self.register_parameter(name, nn.Parameter(part.clone()))
            self.register_buffer(f"{name}_start", part.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Updated weight in its own shape and dtype."""
        change = self._learnt() - self._replaced()
        return weight + change.reshape(weight.shape).to(weight.dtype)

    def orthogonality(self) -> Tensor:
        """How far U and V are from completing the frozen directions: a scalar >= 0, mean over N.

        ``(|U U' - U0 U0'|^2 + |V' V - V0' V0|^2) / 2``, Frobenius norms. Where W is square, that is
        ``|A A' - I|^2`` for A all left directions, frozen and learning ones, and likewise on the
        right. The published code does not square the norms; their derivative has no value at the
        start, where they are 0.
        """
        sides = (
            (self.svd_left, self.svd_left_start),
            (self.svd_right.mT, self.svd_right_start.mT),
        )
        apart = [_apart(now, start) for now, start in sides]
        return torch.stack(apart).mean()

    def norm_change(self, weight: Tensor) -> Tensor:
        """``| |W|^2 - |W0|^2 |`` of Frobenius norms: a scalar >= 0, mean over N.

        Args:
            weight: The frozen weight W0.
        """
        learnt, replaced = self._learnt(), self._replaced()
        main = weight.float().reshape(learnt.shape) - replaced
        squares = (learnt.square() - replaced.square()).sum((1, 2))
        crossed = 2 * (main * (learnt - replaced)).sum((1, 2))
        return (squares + crossed).abs().mean()

    def _learnt(self) -> Tensor:
        return _product(self.svd_left, self.svd_values, self.svd_right)

    def _replaced(self) -> Tensor:
        return _product(self.svd_left_start, self.svd_values_start, self.svd_right_start)


def _product(left: Tensor, values: Tensor, right: Tensor) -> Tensor:
    """(N, O, I) float32, also under autocast, which would round what has to cancel."""
    kind = left.device.type
    has_autocast = torch.amp.is_autocast_available(kind)
    with torch.autocast(kind, enabled=False) if has_autocast else nullcontext():
        return (left * values[:, None]) @ right


def _apart(now: Tensor, start: Tensor) -> Tensor:
    """Squared distance of two projections, from their (N, O, R) directions; mean over N."""
    squares = (now.mT @ now).square() + (start.mT @ start).square() - 2 * (start.mT @ now).square()
    return squares.sum((1, 2)).clamp(min=0).mean()
