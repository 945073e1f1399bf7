"""Which description belongs to which image of a batch: shared by the image-text losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clad.types import LossInputs, TextPrototypes

SAME_TEXT_DISTANCE = 1e-3


@dataclass(frozen=True)
class Pairs:
    """Images and texts of one space, and how they relate.

    Args:
        image: (B, D) float32 or float64, unit norm.
        text: (N, D) of the same type, unit norm.
        positive: (B, N) bool, True where the text describes the image; one or more per row.
        negative: (B, N) bool, True where image and text must be told apart. Elsewhere a pair says
            nothing: another text of the same class and state, or the same words.
    """

    image: Tensor
    text: Tensor
    positive: Tensor
    negative: Tensor


def text_pairs(inputs: LossInputs) -> Pairs:
    """Pair each image with the descriptions of its category and state.

    Texts are the description bank where the prompt strategy has one, else the prototypes. Where
    the bank describes the image's own defect type, only those sentences are positive. A negative
    differs in class or state from the image and in words from all its positives, as categories that
    share a class name share words. Sentences of a bank are compared letter by letter (a text side
    that learns with dropout gives one sentence several embeddings, and one that has collapsed gives
    all the same); prototypes have no letters and are the same where their embeddings coincide.

    Raises:
        ValueError: If image or text side is missing, or no text describes an image of the batch.
    """
    pooled, prototypes = inputs.features.pooled, inputs.prototypes
    if pooled is None or prototypes is None:
        missing = "aligned image features" if pooled is None else "text prototypes"
        raise ValueError(
            f"expected {missing} for an image-text loss, got none; give the model a prompt "
            "strategy and an adapter that aligns the tower, or leave the loss out"
        )
    text, owners, labels, kinds = _texts(prototypes)
    precision = torch.promote_types(pooled.dtype, torch.float32)
    pooled, text = pooled.to(precision), text.to(precision)
    batch = inputs.batch
    device = pooled.device
    same_class = _equal(batch.categories, owners, device)
    same_label = batch.labels.to(device)[:, None] == torch.tensor(labels, device=device)[None]
    same_state = same_class & same_label
    if prototypes.per_image:
        rows = torch.arange(len(text), device=device) // 2
        own = rows[None] == torch.arange(len(batch), device=device)[:, None]
        same_state = same_label & (same_class | own)
        positive = same_label & own
    else:
        positive = _narrow(same_state, _equal(batch.defect_types, kinds, device))
    _expect_described(positive, inputs)
    repeated = positive.float() @ _same_words(prototypes, text).float() > 0
    return Pairs(pooled, text, positive, ~same_state & ~repeated)


def _texts(
    prototypes: TextPrototypes,
) -> tuple[Tensor, Sequence[str], Sequence[int], Sequence[str]]:
    bank = prototypes.bank
    if bank is not None:
        return bank.embeddings, bank.class_names, bank.labels, bank.defect_types
    owners = [name for name in prototypes.class_names for _ in range(2)]
    return prototypes.embeddings.flatten(0, 1), owners, [0, 1] * (len(owners) // 2), owners


@torch.no_grad()
def _same_words(prototypes: TextPrototypes, text: Tensor) -> Tensor:
    """(N, N) bool, True where two texts say the same."""
    if prototypes.bank is not None:
        return _equal(prototypes.bank.texts, prototypes.bank.texts, text.device)
    # Not by matrix product: in half precision its rounding would merge similar texts.
    apart = torch.cdist(text, text, compute_mode="donot_use_mm_for_euclid_dist")
    return apart <= SAME_TEXT_DISTANCE


def _equal(left: Sequence[str], right: Sequence[str], device: torch.device) -> Tensor:
    """(len(left), len(right)) bool, True where the names are equal."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys((*left, *right)))}
    rows = torch.tensor([numbers[name] for name in left], device=device)
    columns = torch.tensor([numbers[name] for name in right], device=device)
    return rows[:, None] == columns[None]


def _narrow(same_state: Tensor, same_kind: Tensor) -> Tensor:
    """Texts of the image's own defect type where there are some, else all of its state."""
    exact = same_state & same_kind
    return torch.where(exact.any(dim=1, keepdim=True), exact, same_state)


def _expect_described(positive: Tensor, inputs: LossInputs) -> None:
    bare = (~positive.any(dim=1)).nonzero().flatten().tolist()
    if bare:
        batch = inputs.batch
        wanted = sorted({(batch.categories[row], int(batch.labels[row])) for row in bare})
        raise ValueError(
            f"expected a description of every (category, label) of the batch, got none of {wanted};"
            " pass every category of the batch to the prompt strategy"
        )
