"""A learned linear layer in place of words: linear probing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from clad.checks import expect_choice, expect_range, expect_shape
from clad.features import enlarge_mean, image_statistics, log_covariances, token_maps, top_mean
from clad.heads.base import Head
from clad.heads.text_maps import difference, layer_differences
from clad.towers.base import Tower
from clad.types import Alignment, ImageFeatures, Prediction

Sight = Literal["auto", "embedding", "summary", "statistics", "covariances"]
_SIGHTS = ("auto", "embedding", "summary", "statistics", "covariances")


class Linear(Head):
    """Normal and anomalous logits from one linear layer over the image vector, with bias.

    Losses see them in place of a comparison with words, so a recipe with this head needs no
    prompts and works on towers without a text side. With ``patches`` a linear layer per token layer
    gives the same two logits for every patch, which is a map that ``patch_focal`` and
    ``patch_dice`` can teach. All weights start at zero: the problem is convex, and the start does
    not depend on the seed.

    Source: linear probing as in CLIP (Radford et al., ICML 2021, arXiv:2103.00020) and CLIPping the
    Deception (Khan and Dang-Nguyen, ICMR 2024, arXiv:2402.12927): 768 -> 2, 1,538 parameters on
    CLIP ViT-L/14, there with random first weights and without standardisation.

    Args:
        sees: What the layer looks at. ``embedding``: the image embedding in the words' space,
            before unit length where there is one; ``summary``: the trunk's own image vector;
            ``statistics``: the summary, with the mean and the standard deviation of every token
            channel over the positions; ``covariances``: the logarithm of the covariance of every
            layer's token channels alone, for textures that a generator gets wrong, and scaled so
            that layers count alike however wide they are; ``auto``: the
            embedding of towers aligned with text, else the summary.
        standardise: Whether each channel is brought to mean 0 and standard deviation 1 first, over
            the batch in training and over its running average afterwards; nothing of it is learned.
        patches: Whether there is a linear layer per token layer, and a map.
        layers: Positions of the token layers for ``patches``, ``statistics`` and ``covariances``;
            None takes all.
        output: ``logit`` is the anomalous logit less the normal one (unbounded); ``probability``
            its sigmoid, which is the softmax of the two.
        score: Where the image score comes from: ``image``, the image vector; ``patches`` that stand
            out most; or the ``mean`` of both.
        top_share: The score of patches is the mean over this share of them, in [0, 1].
        sigma_px: Standard deviation of the Gaussian over the map, in pixels of the image.

    Raises:
        ValueError: If a value is out of range, or a score of patches is asked for without them.
    """

    classifies = True

    def __init__(
        self,
        sees: Sight = "auto",
        standardise: bool = True,
        patches: bool = False,
        layers: tuple[int, ...] | None = None,
        output: Literal["logit", "probability"] = "logit",
        score: Literal["image", "patches", "mean"] = "image",
        top_share: float = 0.01,
        sigma_px: float = 4.0,
    ) -> None:
        super().__init__()
        expect_choice("sees", sees, _SIGHTS)
        expect_choice("output", output, ("logit", "probability"))
        expect_choice("score", score, ("image", "patches", "mean"))
        expect_range("top_share", top_share, 0, 1)
        expect_range("sigma_px", sigma_px, 0, 1000)
        if score != "image" and not patches:
            raise ValueError(
                f"expected patches for the score of {score}, got patches: false; set patches to "
                "true and add a loss that teaches them (configs/losses/linear_patches.yaml)"
            )
        self.sees: Sight = sees
        self.standardise = standardise
        self.patches = patches
        self.layers = layers
        self.output = output
        self.score = score
        self.top_share = top_share
        self.sigma_px = sigma_px

    def attach(self, tower: Tower, class_names: tuple[str, ...]) -> None:
        """Create the layers for the tower's widths; categories do not matter.

        Raises:
            ValueError: If the tower has fewer token layers.
        """
        del class_names
        count = len(tower.token_dims)
        self.chosen = tuple(range(count)) if self.layers is None else tuple(self.layers)
        for layer in self.chosen:
            expect_choice("layer", str(layer), [str(position) for position in range(count)])
        widths = [tower.token_dims[layer] for layer in self.chosen]
        self.sight: Sight = self.sees
        if self.sees == "auto":
            self.sight = "embedding" if tower.is_aligned else "summary"
        seen = {
            "embedding": tower.embed_dim,
            "summary": tower.summary_dim,
            "statistics": tower.summary_dim + 2 * sum(widths),
        }
        if self.sight == "covariances":
            self.image = _TwoLogits([n * (n + 1) // 2 for n in widths], self.standardise, True)
        else:
            self.image = _TwoLogits([seen[self.sight]], self.standardise)
        maps = [_TwoLogits([each], self.standardise) for each in widths] if self.patches else []
        self.maps = nn.ModuleList(maps)

    def classify(self, features: ImageFeatures, alignment: Alignment | None) -> Alignment:
        """Logits of images, and of patches where there are layers for them; their scale is 1.

        Raises:
            ValueError: If the features lack what the layer sees, or are of another width.
        """
        del alignment
        seen = tuple(features.tokens[layer] for layer in self.chosen) if self.patches else ()
        return Alignment(
            image_logits=self.image(self._vectors(features)),
            patch_logits=tuple(
                layer(tokens) for layer, tokens in zip(self.maps, seen, strict=True)
            ),
            grids=tuple(features.grids[layer] for layer in self.chosen) if self.patches else (),
        )

    def forward(
        self,
        features: ImageFeatures,
        alignment: Alignment | None,
        categories: tuple[str, ...],
        image_size: tuple[int, int],
    ) -> Prediction:
        """Scores, and maps where there are layers for patches; whatever words say is not read."""
        del categories
        own = self.classify(features, alignment)
        whole = self._values(difference(own.image_logits))
        if not self.patches:
            return Prediction(whole)
        layers = [self._values(layer) for layer in layer_differences(own)]
        maps = enlarge_mean(layers, image_size, self.sigma_px)
        local = _mean([top_mean(layer, self.top_share) for layer in layers])
        scores = {"image": whole, "patches": local, "mean": (whole + local) / 2}
        return Prediction(scores[self.score], maps, {"image": whole, "patches": local})

    def _vectors(self, features: ImageFeatures) -> Tensor:
        """(B, width) what the image's layer sees."""
        if self.sight == "summary":
            return features.summary
        if self.sight == "covariances":
            return log_covariances(token_maps(features, self.chosen))
        if self.sight == "statistics":
            statistics = image_statistics(token_maps(features, self.chosen))
            return torch.cat([features.summary.float(), statistics], 1)
        vectors = features.pooled if features.embedding is None else features.embedding
        if vectors is None:
            raise ValueError(
                "expected an image embedding in the words' space for the linear head, got trunk "
                "features only; set model.head.sees to summary or statistics"
            )
        return vectors

    def _values(self, differences: Tensor) -> Tensor:
        return differences if self.output == "logit" else torch.sigmoid(differences)


class _TwoLogits(nn.Module):
    """Vectors (..., C), standardised where asked -> (..., 2) logits.

    With ``balanced``, each of the blocks that a vector is made of is divided by the square root of
    its width.
    """

    scales: Tensor | None

    def __init__(self, blocks: Sequence[int], standardise: bool, balanced: bool = False) -> None:
        super().__init__()
        width = sum(blocks)
        scales = torch.cat([torch.full((block,), block**-0.5) for block in blocks])
        self.register_buffer("scales", scales if balanced else None, persistent=False)
        self.norm = nn.BatchNorm1d(width, affine=False) if standardise else None
        self.linear = nn.Linear(width, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        expect_shape(
            "vectors of the linear head",
            vectors,
            (*(None,) * (vectors.ndim - 1), self.linear.in_features),
        )
        rows = vectors.reshape(-1, vectors.shape[-1]).to(self.linear.weight.dtype)
        if self.norm is not None:
            rows = self.norm(rows)
        if self.scales is not None:
            rows = rows * self.scales
        logits: Tensor = self.linear(rows)
        return logits.unflatten(0, vectors.shape[:-1])


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).mean(0)
