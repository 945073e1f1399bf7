"""The smallest singular direction of each attention matrix learns (Effort)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils import parametrize

from clad.checks import expect_range
from clad.towers.base import Tower
from clad.tuning.base import Tuning
from clad.tuning.low_rank import is_joint_attention
from clad.tuning.svd_matrix import SvdResidual

_PREFIX = "svd_"
_PACKED = "attn.qkv"
_ATTENTION = (_PACKED, "attn.proj")
"""Ends of names in timm's transformers."""
_NUM_PACKED = 3


class SvdResiduals(Tuning):
    """Freeze what matters most in each matrix of the image encoder, and train what matters least.

    Each query, key, value and output matrix of self-attention is split by its singular values: the
    part of the largest ones stays as it was trained, the ``rank`` smallest ones learn. Packed
    matrices are split into queries, keys and values first. Words see nothing of it.

    Source: Effort (Yan et al., ICML 2025, arXiv:2411.15633) and its code in DeepfakeBench
    (``training/detectors/effort_detector.py``): 24 x 4 x 2,049 = 196,704 parameters on CLIP
    ViT-L/14. Other matrices than those of attention are not in the paper.

    Args:
        rank: Singular directions that learn, >= 1 and fewer than a matrix has.
        modules: Ends of module names whose matrix learns, e.g. ``attn``, ``mlp.c_fc``,
            ``conv_pwl``; empty takes self-attention, and in an encoder without any (a convolutional
            one) its pointwise convolutions.

    Raises:
        ValueError: If the rank is less than 1.
    """

    def __init__(self, rank: int = 1, modules: tuple[str, ...] = ()) -> None:
        expect_range("rank", rank, 1, 4096)
        self.rank = rank
        self.modules = tuple(modules)

    def apply(self, tower: Tower) -> None:
        """Freeze the tower, and split the chosen matrices.

        Raises:
            ValueError: If the tower does not tell its blocks, a name fits nothing, or a matrix has
                no more than ``rank`` directions.
        """
        tower.freeze()
        for name, module in self._choose(tower).items():
            matrices = [(module, "weight", _NUM_PACKED if _ends(name, _PACKED) else 1)]
            if is_joint_attention(module):
                out = module.get_submodule("out_proj")
                matrices = [(module, "in_proj_weight", _NUM_PACKED), (out, "weight", 1)]
            for owner, weight, num_stacked in matrices:
                update = SvdResidual(getattr(owner, weight), self.rank, num_stacked)
                parametrize.register_parametrization(owner, weight, update.train(owner.training))

    def is_own(self, name: str) -> bool:
        """What learns, and what it started from."""
        return name.rpartition(".")[2].startswith(_PREFIX)

    def _choose(self, tower: Tower) -> dict[str, nn.Module]:
        names = {id(module): name for name, module in tower.named_modules()}
        found = {
            names[id(module)]: module
            for block in tower.image_parts().blocks
            for module in _candidates(block.module)
        }
        idle = [end for end in self.modules if not any(_ends(name, end) for name in found)]
        chosen = {n: m for n, m in found.items() if any(_ends(n, e) for e in self.modules)}
        if not self.modules:
            attention = {n: m for n, m in found.items() if _is_attention(n, m)}
            chosen = attention or {n: m for n, m in found.items() if isinstance(m, nn.Conv2d)}
        if idle or not chosen:
            ends = sorted({name.rpartition(".")[2] for name in found})
            raise ValueError(
                f"expected names of attention, linear layers or pointwise convolutions in the "
                f"image blocks of {type(tower).__name__}, got {idle}; module names there end in "
                f"{', '.join(ends) or 'nothing that fits'}"
            )
        return chosen


def _candidates(module: nn.Module) -> Iterator[nn.Module]:
    """Modules with a matrix, outermost first; nothing inside an attention taken as a whole."""
    if is_joint_attention(module) or isinstance(module, nn.Linear):
        yield module
    elif isinstance(module, nn.Conv2d):
        if module.groups == 1 and module.kernel_size == (1, 1):
            yield module
    else:
        for child in module.children():
            yield from _candidates(child)


def _is_attention(name: str, module: nn.Module) -> bool:
    is_linear = isinstance(module, nn.Linear)
    return is_joint_attention(module) or (is_linear and any(_ends(name, e) for e in _ATTENTION))


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")
