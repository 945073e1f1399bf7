from __future__ import annotations

import math

import pytest
import torch
from fakes import fake_batch

from clad.losses.image_focal import ImageFocal
from clad.types import Alignment, ImageFeatures, LossInputs


def inputs(*rows: tuple[float, float], labels: tuple[int, ...]) -> LossInputs:
    batch = fake_batch(("bottle",) * len(labels), labels)
    features = ImageFeatures((), (), torch.zeros(len(labels), 1))
    return LossInputs(batch, features, None, Alignment(torch.tensor(rows), (), ()))


def test_by_hand() -> None:
    """Probabilities of the truth are 1/2 and 3/4."""
    found = ImageFocal()(inputs((0.0, 0.0), (math.log(3), 0.0), labels=(1, 0)))
    expected = (0.25 * math.log(2) + math.log(4 / 3) / 16) / 2
    assert found.item() == pytest.approx(expected)


def test_published_smoothing_changes_little() -> None:
    """AdaCLIP's code clamps targets to [1e-5, 1 - 1e-5] and adds 1e-5 to the probability.

    It takes the edge off images that are wrong beyond doubt; about others it says the same.
    """
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 2), torch.randint(0, 2, (50,))
    p = logits.double().softmax(1)
    target = torch.nn.functional.one_hot(labels, 2).double().clamp(1e-5, 1 - 1e-5)
    true = (target * p).sum(1) + 1e-5
    published = ((1 - true) ** 2 * -true.log()).mean().item()
    rows = [(float(n), float(a)) for n, a in logits]
    found = ImageFocal()(inputs(*rows, labels=tuple(labels.tolist()))).item()
    assert found == pytest.approx(published, rel=1e-3)
    assert found != published


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected gamma >= 0, got -1"):
        ImageFocal(gamma=-1)
    bare = LossInputs(fake_batch(), ImageFeatures((), (), torch.zeros(4, 1)), None, None)
    with pytest.raises(ValueError, match="expected text logits for ImageFocal, got none"):
        ImageFocal()(bare)
