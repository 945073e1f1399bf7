"""A low-rank update of a bare weight matrix: what LoRA adds where there is no layer to wrap."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRankUpdate(nn.Module):
    """Weight W -> W + (alpha / rank) B A; W itself when made, because B starts at zero.

    As a parametrization it is seen by whoever reads the weight, not only by the module's own
    forward: attention among values reads ``in_proj_weight`` of a block directly.

    Source: LoRA (Hu et al., ICLR 2022, arXiv:2106.09685), equation 3 and section 4.1.

    Args:
        weight: (out, in) float; what is learnt lies on its device, in float32.
        rank: Width of the bottleneck, >= 1.
        alpha: Factor of the update is ``alpha / rank``.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        num_out, num_in = weight.shape
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, num_in, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(num_out, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) updated weight in its own dtype."""
        return weight + (self.scale * self.lora_B @ self.lora_A).to(weight.dtype)


def is_joint_attention(module: nn.Module) -> bool:
    """Whether queries, keys and values share one bare matrix (``nn.MultiheadAttention``)."""
    return isinstance(getattr(module, "in_proj_weight", None), nn.Parameter)


def update_attention(attention: nn.Module, rank: int, alpha: float) -> None:
    """Let the joint projection and the output projection of an attention learn by low rank.

    The library peft wraps such a module, too, but adds the update to the frozen matrix before each
    call and subtracts it after, which leaves rounding errors in the matrix, and is not seen by
    others that read it.
    """
    for module, name in ((attention, "in_proj_weight"), (attention.out_proj, "weight")):
        assert isinstance(module, nn.Module)
        update = LowRankUpdate(getattr(module, name), rank, alpha)
        parametrize.register_parametrization(module, name, update)
