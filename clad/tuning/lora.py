"""Low-rank updates of the encoders' matrices learn (LoRA)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from clad.checks import expect_range
from clad.towers.base import EncoderParts, Tower
from clad.tuning.base import Tuning
from clad.tuning.low_rank import is_joint_attention, update_attention


class Lora(Tuning):
    """Add a learnable low-rank matrix to matrices of the encoders' blocks; the tower stays frozen.

    Candidates are linear layers, convolutions that are not grouped, and attention with a joint
    projection (open_clip's), all of them in the tower's blocks. Nothing changes before training,
    because one of the two factors starts at zero. Layers come from the library peft, attention from
    ``clad/tuning/low_rank.py``.

    Source: LoRA (Hu et al., ICLR 2022, arXiv:2106.09685).

    Args:
        rank: Width of the bottleneck, >= 1.
        alpha: The update counts ``alpha / rank``.
        dropout: Share of a layer's inputs that its update does not see in training, in [0, 1);
            attention with a joint projection has none.
        image: Whether the image encoder learns.
        text: Whether the text encoder learns.
        layers: Ends of module names that learn, e.g. ``attn``, ``mlp.c_fc``, ``query``,
            ``conv_pw``; empty takes every candidate.

    Raises:
        ValueError: If a number is out of range or neither side learns.
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        image: bool = True,
        text: bool = True,
        layers: tuple[str, ...] = (),
    ) -> None:
        expect_range("rank", rank, 1, 4096)
        expect_range("alpha", alpha, 1e-6, 1e6)
        expect_range("dropout", dropout, 0, 0.99)
        if not (image or text):
            raise ValueError(
                "expected image or text to learn, got neither; use configs/tuning/frozen.yaml"
            )
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.image = image
        self.text = text
        self.layers = tuple(layers)

    def apply(self, tower: Tower) -> None:
        """Freeze the tower, and wrap the chosen matrices.

        Raises:
            ImportError: If peft is missing, with the command that installs it.
            ValueError: If the tower does not tell its blocks, or a name in ``layers`` fits nothing.
        """
        tower.freeze()
        parts = [tower.image_parts()] if self.image else []
        parts += [tower.text_parts()] if self.text else []
        chosen = self._choose(tower, parts)
        attentions = [module for module in chosen.values() if is_joint_attention(module)]
        wrapped = [name for name, module in chosen.items() if not is_joint_attention(module)]
        if wrapped:
            self._wrap(tower, wrapped)
        for attention in attentions:
            update_attention(attention, self.rank, self.alpha)
        for name, weight in tower.named_parameters():
            if self.is_own(name):
                weight.data = weight.data.float()  # bfloat16 cannot hold small steps

    def is_own(self, name: str) -> bool:
        """The two factors of each update."""
        return "lora_A" in name or "lora_B" in name

    def _choose(self, tower: Tower, parts: list[EncoderParts]) -> dict[str, nn.Module]:
        names = {id(module): name for name, module in tower.named_modules()}
        found = {
            names[id(module)]: module
            for part in parts
            for block in part.blocks
            for module in _candidates(block.module)
        }
        chosen = {n: m for n, m in found.items() if not self.layers or _ends(n, self.layers)}
        idle = [end for end in self.layers if not any(_ends(name, (end,)) for name in found)]
        if idle or not chosen:
            ends = sorted({name.rpartition(".")[2] for name in found})
            raise ValueError(
                f"expected names of linear layers, ungrouped convolutions or attention in the "
                f"blocks of {type(tower).__name__}, got {idle}; module names there end in "
                f"{', '.join(ends)}"
            )
        return chosen

    def _wrap(self, tower: Tower, names: list[str]) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise ImportError(
                "expected the package peft for LoRA, found none; "
                "install it with: pip install 'clad-anomaly[tuning]'"
            ) from error
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=names,
        )
        inject_adapter_in_model(config, tower)


def _candidates(module: nn.Module) -> Iterator[nn.Module]:
    """Modules with a matrix, outermost first; nothing inside an attention taken as a whole."""
    if is_joint_attention(module) or isinstance(module, nn.Linear):
        yield module
    elif isinstance(module, nn.Conv2d):
        if module.groups == 1:
            yield module
    else:
        for child in module.children():
            yield from _candidates(child)


def _ends(name: str, ends: tuple[str, ...]) -> bool:
    return any(f".{name}".endswith(f".{end}") for end in ends)
