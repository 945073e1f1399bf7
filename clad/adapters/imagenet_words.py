"""An ImageNet classifier as the bridge from images to words; nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from clad.adapters.base import Adapter
from clad.checks import expect_shape
from clad.towers.base import Tower
from clad.types import ImageFeatures

_TEXTS_PER_CALL = 100


def ridge_bridge(
    rows: Tensor, bias: Tensor, embeddings: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Linear map from image vectors to text embeddings, fitted on classifier rows alone.

    Rows and embeddings are centred over the classes. The map takes each row to the embedding of
    its class, as well as a ridge regression can; an image vector ``s`` then comes to lie at
    ``weight s + offset``, the sum of what the regression keeps of every class, weighted by the
    image's centred logits.

    Args:
        rows: (N, C) float, weights of the classifier.
        bias: (N,) float, its biases.
        embeddings: (N, D) float, of the class descriptions.
        ridge: Penalty in units of the mean squared length of a centred row, > 0.

    Returns:
        (D, C) float64 and (D,) float64.

    Raises:
        ValueError: If the numbers of classes differ, or the penalty is not positive.

    Source: DeViSE (Frome et al., NIPS 2013) and ConSE (Norouzi et al., ICLR 2014, arXiv:1312.5650)
    for classes as a bridge; regression on rows instead of images, so that no image is needed, is
    ours.
    """
    expect_shape("embeddings", embeddings, (len(rows), None))
    expect_shape("bias", bias, (len(rows),))
    if not ridge > 0:
        raise ValueError(f"expected ridge > 0, got {ridge}; 1 is a good start")
    rows, bias, targets = (
        each.double() - each.double().mean(0) for each in (rows, bias, embeddings)
    )
    gram = rows @ rows.T
    gram.diagonal().add_(ridge * gram.trace() / len(rows))
    dual_ND = torch.linalg.solve(gram, targets)
    return dual_ND.T @ rows, dual_ND.T @ bias


class ImageNetWords(Adapter):
    """Image vector and patches -> the words' space, through the classes the tower was trained on.

    A tower such as ``configs/tower/offline.yaml`` carries a classifier of 1,000 named classes
    beside an encoder of words. A ridge regression takes the classifier's rows to the embeddings of
    the class descriptions; it is solved when the recipe is built, without an image, and takes image
    vectors, too. Words then mean something for what resembles a class of ImageNet. Do not expect
    CLIP: there are no faces and no defects among those classes.

    Source: DeViSE (Frome et al., NIPS 2013); ConSE (Norouzi et al., ICLR 2014, arXiv:1312.5650).

    Args:
        ridge: Penalty of the regression, > 0, in units of the mean squared length of a row.
    """

    aligns = True
    aligns_untrained = True
    reads_patches = False

    weight: Tensor
    offset: Tensor

    def __init__(self, ridge: float = 1.0) -> None:
        super().__init__()
        self.ridge = ridge

    def attach(self, tower: Tower) -> None:
        """Solve the regression; encoding a thousand descriptions takes some seconds.

        Raises:
            ValueError: If the tower has no classifier, or gives no patches before its pooling.
        """
        found = tower.classifier()
        if found is None or found.dense is None:
            missing = "no classifier" if found is None else "none of its last layer's tokens"
            raise ValueError(
                f"expected a tower with a classifier and the tokens that it pools for "
                f"{type(self).__name__}, got {type(tower).__name__} with {missing}; use "
                "configs/tower/offline.yaml with stride 32 among its strides"
            )
        with torch.no_grad():
            embeddings = _encode(tower, found.labels)
            weight, offset = ridge_bridge(
                found.weight.cpu(), found.bias.cpu(), embeddings.cpu(), self.ridge
            )
        device = tower.mean.device
        # Not kept in checkpoints: the tower alone decides them.
        self.register_buffer("weight", weight.float().to(device), persistent=False)
        self.register_buffer("offset", offset.float().to(device), persistent=False)
        self._dense = found.dense

    def forward(self, features: ImageFeatures) -> ImageFeatures:
        """Features with one layer of patches, on the grid that the trunk pools, and pooled."""
        states, grid = self._dense(features)
        return replace(
            features,
            patches=(self._to_words(states),),
            pooled=self._to_words(features.summary),
            patch_grids=(grid,),
        )

    def _to_words(self, vectors: Tensor) -> Tensor:
        """(..., D) unit vectors of (..., C) image vectors."""
        mapped = functional.linear(vectors.to(self.weight.dtype), self.weight, self.offset)
        return functional.normalize(mapped.float(), dim=-1)


def _encode(tower: Tower, texts: Sequence[str]) -> Tensor:
    """(N, D) unit embeddings; texts of similar length go together, which saves padding."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    parts = [
        tower.encode_text([texts[row] for row in order[start : start + _TEXTS_PER_CALL]])
        for start in range(0, len(order), _TEXTS_PER_CALL)
    ]
    rows = torch.cat(parts)
    found = torch.empty_like(rows)
    found[torch.tensor(order, device=rows.device)] = rows
    return functional.normalize(found.float(), dim=-1)
