"""Small residual layers after the first blocks of the encoders learn (AA-CLIP)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from clad.checks import expect_range
from clad.towers.base import Block, Tower
from clad.tuning.base import Tuning

_ADAPTER = "residual_adapter"
_PROJECTION = "residual_projection"
_TINY = 1e-12


def blend(states: Tensor, adapted: Tensor, share: float) -> Tensor:
    """States of which a share is replaced by others, brought to the same length.

    ``(1 - share) x + share |x| a / |a|``, token by token.

    Args:
        states: (..., C) float, x.
        adapted: (..., C) float, a; any length.
        share: In [0, 1].

    Returns:
        (..., C) float.

    Source: AA-CLIP (Ma et al., CVPR 2025, arXiv:2503.06661), section 3.2 and its published code.
    """
    length = states.norm(dim=-1, keepdim=True)
    adapted = adapted * length / adapted.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    return (1 - share) * states + share * adapted


class ResidualAdapter(nn.Module):
    """States of a block, blended with what a linear layer and a leaky ReLU make of them.

    Args:
        width: Channels of the states.
        channels_dim: Where they are.
        share: How much of the states is replaced, in [0, 1].
    """

    def __init__(self, width: int, channels_dim: int, share: float) -> None:
        super().__init__()
        self.channels_dim = channels_dim
        self.share = share
        self.linear = nn.Linear(width, width, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, states: Tensor) -> Tensor:
        """States of the same shape and dtype."""
        tokens = states.movedim(self.channels_dim, -1).to(self.linear.weight.dtype)
        adapted = functional.leaky_relu(self.linear(tokens))
        return blend(tokens, adapted, self.share).movedim(-1, self.channels_dim).to(states.dtype)


class ResidualProjection(nn.Module):
    """Linear layer and leaky ReLU in place of the text projection.

    Args:
        width: Channels of the text encoder's states.
        embed_dim: Width of the space shared with images.
    """

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.residual_projection = nn.Linear(width, embed_dim, bias=False)
        nn.init.xavier_uniform_(self.residual_projection.weight)

    def forward(self, states: Tensor) -> Tensor:
        """(N, D) text embeddings of pooled states (N, W)."""
        weight = self.residual_projection.weight
        return functional.leaky_relu(functional.linear(states.to(weight.dtype), weight))


class ResidualAdapters(Tuning):
    """Blend the states after early blocks with a learnt version of themselves.

    The tower itself stays frozen. A part that does not learn keeps the values of an earlier stage
    (``model.initial_weights``); without one it would be random, which is refused. Adapters start
    at random and change outputs from the start, the text projection altogether: a recipe with it is
    trained from image-text pairs (masks or labels), not used as it is.

    Source: AA-CLIP (Ma et al., CVPR 2025, arXiv:2503.06661): text first, then images.

    Args:
        image_blocks: After how many of the first blocks of the image encoder there is an adapter;
            0 is none.
        text_blocks: Likewise for the text encoder.
        text_projection: Whether a learnable layer takes the place of the text projection.
        image_learns: Whether the image side's adapters learn.
        text_learns: Whether the text side's adapters and projection learn.
        share: How much of the states an adapter replaces, in [0, 1].

    Raises:
        ValueError: If a number is out of range or there would be no adapter at all.
    """

    def __init__(
        self,
        image_blocks: int = 0,
        text_blocks: int = 3,
        text_projection: bool = True,
        image_learns: bool = True,
        text_learns: bool = True,
        share: float = 0.1,
    ) -> None:
        expect_range("share", share, 0, 1)
        expect_range("image_blocks", image_blocks, 0, 1000)
        expect_range("text_blocks", text_blocks, 0, 1000)
        if not (image_blocks or text_blocks or text_projection):
            raise ValueError(
                "expected an adapter in some block or a text projection, got none; "
                "use configs/tuning/frozen.yaml"
            )
        self.image_blocks = image_blocks
        self.text_blocks = text_blocks
        self.text_projection = text_projection
        self.image_learns = image_learns
        self.text_learns = text_learns
        self.share = share

    def apply(self, tower: Tower) -> None:
        """Freeze the tower, and put the adapters in.

        Raises:
            ValueError: If the tower has fewer blocks, or does not tell them.
        """
        tower.freeze()
        if self.image_blocks:
            blocks = tower.image_parts().blocks
            self._adapt(blocks, self.image_blocks, "image_blocks", self.image_learns)
        if self.text_blocks:
            blocks = tower.text_parts().blocks
            self._adapt(blocks, self.text_blocks, "text_blocks", self.text_learns)
        if self.text_projection:
            last = tower.text_parts().blocks[-1]
            projection = ResidualProjection(last.width, tower.embed_dim).to(tower.mean.device)
            tower.replace_text_projection(projection.requires_grad_(self.text_learns))
            projection.train(tower.training)

    def is_own(self, name: str) -> bool:
        """Weights of the adapters and of the new projection."""
        return f"{_ADAPTER}." in name or f"{_PROJECTION}." in name

    def _adapt(self, blocks: Sequence[Block], count: int, name: str, learns: bool) -> None:
        if count > len(blocks):
            raise ValueError(
                f"expected {name} of at most {len(blocks)}, which is all this tower has, got "
                f"{count}; lower it"
            )
        for block in blocks[:count]:
            if isinstance(block.module, (nn.Sequential, nn.ModuleList)):
                raise ValueError(
                    f"expected blocks that can hold an adapter, got {type(block.module).__name__}; "
                    f"set {name} to 0"
                )
            device = next(block.module.parameters()).device
            adapter = ResidualAdapter(block.width, block.channels_dim, self.share)
            adapter.to(device).requires_grad_(learns)
            block.module.add_module(_ADAPTER, adapter.train(block.module.training))
            block.module.register_forward_hook(_after_block)


def _after_block(
    block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]
) -> Tensor | tuple[Tensor, ...]:
    """A block's output with adapted states; a hook, so the block keeps its name and its weights."""
    del inputs
    adapter = block.get_submodule(_ADAPTER)
    if isinstance(output, torch.Tensor):
        return adapter(output)
    return (adapter(output[0]), *output[1:])
