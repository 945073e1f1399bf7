"""AdaCLIP's prompts of the image encoder: static and dynamic tokens behind the patches."""

from __future__ import annotations

from clad.towers.base import Tower
from clad.tuning.base import Tuning
from clad.tuning.prompt_tokens import AppendedTokens, expect_prompt_options

_OWN = "image_prompts."


class HybridPrompts(Tuning):
    """Lets learnable tokens join the patches in the first layers of a frozen image encoder.

    Every image is encoded twice: plainly, without gradients, for the embedding that dynamic tokens
    are made from; then with the tokens. Words see nothing of it; for them there is the prompt
    strategy ``clad.prompts.hybrid.Hybrid``.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), section 3.2. The code differs from
    prompt tuning as usual (VPT) in that tokens stand behind the patches, not before them, which
    attention cannot tell.

    Args:
        depth: J, layers that get tokens of their own, counted from the first.
        length: M, tokens per layer.
        static: Tokens that all images share, learned as they are.
        dynamic: Tokens made from each image by linear layers; where both are on, they are added.
    """

    def __init__(
        self, depth: int = 4, length: int = 5, static: bool = True, dynamic: bool = True
    ) -> None:
        expect_prompt_options(depth, length, static, dynamic)
        self.depth = depth
        self.length = length
        self.static = static
        self.dynamic = dynamic

    def apply(self, tower: Tower) -> None:
        """Freeze the tower and give it tokens.

        Raises:
            ValueError: If the image encoder takes none, or has fewer layers.
        """
        if tower.image_prompt_dim is None:
            raise ValueError(
                "expected an image encoder that tokens can join (a VisionTransformer of open_clip "
                f"without vv_from_layer and window_sides), got {type(tower).__name__} as it is "
                "set up; choose e.g. configs/tower/open_clip_vit_l_14_336.yaml"
            )
        if self.depth > tower.image_prompt_layers:
            raise ValueError(
                f"expected depth up to {tower.image_prompt_layers}, the layers of the image "
                f"encoder, got {self.depth}"
            )
        tower.freeze()
        tokens = AppendedTokens(
            tower.embed_dim,
            tower.image_prompt_dim,
            self.depth,
            self.length,
            self.static,
            self.dynamic,
        )
        tower.image_prompts = tokens.to(tower.mean.device)

    def is_own(self, name: str) -> bool:
        """Whether the weight belongs to the tokens."""
        return name.startswith(_OWN)
