"""Labels by name, in either order, and never by guess."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.heads.own_classifier import OwnClassifier, normal_and_anomalous


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        (("Real", "Fake"), (0, 1)),
        (("fake", "real"), (1, 0)),
        (("Realism", "Deepfake"), (0, 1)),
        (("Deepfake image", "Real_Image"), (1, 0)),
        (("AI-generated", "authentic photo"), (1, 0)),
    ],
)
def test_real_and_fake_are_found_by_name(labels, rows):
    assert normal_and_anomalous(labels) == rows


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1"),
        ("real", "real face"),
        ("real", "not real"),
        ("unreal", "fake"),
        ("real", "fake", "deepfake"),
        ("real or fake", "fake"),
        ("image", "fake"),
        ("fake",),
        (),
    ],
)
def test_names_that_could_mean_anything_are_refused(labels):
    with pytest.raises(ValueError, match="expected two labels, one that means real and one that"):
        normal_and_anomalous(labels)


def test_scores_are_differences_of_the_towers_own_logits():
    tower = FakeTower()
    head = OwnClassifier()
    head.attach(tower, ("face",))
    features = tower.encode_image(fake_batch().images)
    rows = tower.classifier()
    logits = features.summary @ rows.weight.T + rows.bias
    found = head(features, None, ("face",) * 4, (32, 32))
    torch.testing.assert_close(found.scores, logits[:, 1] - logits[:, 0])
    torch.testing.assert_close(head.classify(features, None).image_logits, logits)
    assert head.state_dict() == {}


def test_a_tower_without_a_classifier_is_refused(monkeypatch):
    tower = FakeTower()
    monkeypatch.setattr(tower, "classifier", lambda: None)
    with pytest.raises(ValueError, match="expected a tower with a classifier of its own for OwnC"):
        OwnClassifier().attach(tower, ("face",))
