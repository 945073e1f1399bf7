"""Keeps the learning singular directions of a tuned tower orthogonal and their weights in norm."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from clad.checks import expect_range
from clad.losses.base import Loss
from clad.towers.base import Tower
from clad.types import LossInputs


@runtime_checkable
class Residual(Protocol):
    """A parametrization by singular directions (``clad/tuning/svd_matrix.py``)."""

    def orthogonality(self) -> Tensor:
        """Scalar >= 0, 0 at the start."""

    def norm_change(self, weight: Tensor) -> Tensor:
        """Scalar >= 0, 0 at the start."""


class SvdPenalty(Loss):
    """Penalties of Effort on what ``configs/tuning/svd_residual.yaml`` trains, mean over weights.

    ``orthogonality x |U U' - U0 U0'|^2``, the same for V, and ``norm x | |W|^2 - |W0|^2 |``. The
    paper has them; the training that its authors released does not use them, and neither does
    ``configs/recipes/effort.yaml``, where the weight is 0.

    Source: Effort (Yan et al., ICML 2025, arXiv:2411.15633).

    Args:
        weight: Factor in the sum, >= 0.
        orthogonality: Factor of the first penalty, >= 0.
        norm: Factor of the second, >= 0.
    """

    needs_alignment = False

    def __init__(self, weight: float = 1.0, orthogonality: float = 1.0, norm: float = 1.0) -> None:
        super().__init__(weight)
        expect_range("orthogonality", orthogonality, 0, float("inf"))
        expect_range("norm", norm, 0, float("inf"))
        self.orthogonality = orthogonality
        self.norm = norm
        self._tuned: tuple[tuple[parametrize.ParametrizationList, Residual], ...] = ()

    def attach(self, tower: Tower) -> None:
        """Find what learns.

        Raises:
            ValueError: If the tower is not tuned that way.
        """
        self._tuned = tuple(
            (each, each[0])
            for each in tower.modules()
            if isinstance(each, parametrize.ParametrizationList) and isinstance(each[0], Residual)
        )
        if not self._tuned:
            raise ValueError(
                f"expected a tower with learning singular directions for {self.name}, got none; "
                "add configs/tuning/svd_residual.yaml, or leave the loss out"
            )

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar >= 0 that looks at weights alone; 0 at the start."""
        del inputs
        found = [
            self.orthogonality * residual.orthogonality()
            + self.norm * residual.norm_change(weights.original)
            for weights, residual in self._tuned
        ]
        return torch.stack(found).mean()
