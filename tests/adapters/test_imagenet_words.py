"""The bridge of class names: its regression, what it refuses, and what it knows of a cat."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch
from sklearn.linear_model import Ridge
from torch.nn import functional

from clad.adapters.imagenet_words import ImageNetWords, ridge_bridge
from clad.heads.image_text import ImageText
from clad.prompts.single_pair import SinglePair
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.requirements import comes_into_one_space


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bridge_is_scikit_learns_ridge_of_embeddings_on_rows():
    rows, embeddings, bias = random(7, 5), random(7, 3, seed=1), random(7, seed=2)
    centred = rows - rows.mean(0)
    alpha = 0.3 * centred.square().sum().item() / 7
    oracle = Ridge(alpha=alpha, fit_intercept=False)
    oracle.fit(centred.numpy(), (embeddings - embeddings.mean(0)).numpy())
    weight, offset = ridge_bridge(rows, bias, embeddings, 0.3)
    torch.testing.assert_close(weight, torch.from_numpy(oracle.coef_))
    assert offset.shape == (3,)


def test_an_image_lies_at_the_sum_of_what_is_kept_of_each_class_weighted_by_its_logits():
    rows, embeddings, bias = random(7, 5), random(7, 3, seed=1), random(7, seed=2)
    image = random(5, seed=3)
    weight, offset = ridge_bridge(rows, bias, embeddings, 2.0)
    logits = rows @ image + bias
    centred = rows - rows.mean(0)
    kernel = centred @ centred.T
    penalty = 2.0 * kernel.diagonal().mean() * torch.eye(7, dtype=torch.float64)
    kept = torch.linalg.inv(kernel + penalty) @ (embeddings - embeddings.mean(0))
    expected = ((logits - logits.mean())[:, None] * kept).sum(0)
    torch.testing.assert_close(weight @ image + offset, expected)


def test_what_all_classes_share_changes_nothing():
    rows, embeddings, bias = random(7, 5), random(7, 3, seed=1), random(7, seed=2)
    plain = ridge_bridge(rows, bias, embeddings, 1.0)
    shifted = ridge_bridge(rows + random(5, seed=4), bias + 3, embeddings - 2, 1.0)
    for found, expected in zip(shifted, plain, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ridge": 0.0}, "expected ridge > 0, got 0.0"),
        ({"bias": random(6)}, r"expected bias of shape \(7,\), got \(6,\)"),
        ({"embeddings": random(6, 3)}, r"expected embeddings of shape \(7, 'any'\), got \(6, 3\)"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(change, message):
    given = {"rows": random(7, 5), "bias": random(7), "embeddings": random(7, 3), "ridge": 1.0}
    with pytest.raises(ValueError, match=message):
        ridge_bridge(**(given | change))


def test_patches_and_pooled_are_the_mapped_states_and_summary():
    tower = FakeTower(aligned=False)
    adapter = ImageNetWords()
    adapter.attach(tower)
    features = tower.encode_image(fake_batch().images)
    found = adapter(features)
    states = features.tokens[-1]
    expected = functional.normalize(states @ adapter.weight.T + adapter.offset, dim=-1)
    torch.testing.assert_close(found.patches[0], expected)
    pooled = functional.normalize(features.summary @ adapter.weight.T + adapter.offset, dim=-1)
    torch.testing.assert_close(found.pooled, pooled)
    assert found.patch_grids == features.grids[-1:]
    assert adapter.state_dict() == {}


def test_a_tower_without_a_classifier_or_its_last_layer_is_refused(monkeypatch):
    tower = FakeTower(aligned=False)
    known = tower.classifier()
    monkeypatch.setattr(tower, "classifier", lambda: None)
    with pytest.raises(
        ValueError, match=r"got FakeTower with no classifier; use configs/tower/off"
    ):
        ImageNetWords().attach(tower)
    without = type(known)(known.labels, known.weight, known.bias)
    monkeypatch.setattr(tower, "classifier", lambda: without)
    with pytest.raises(ValueError, match="with none of its last layer's tokens"):
        ImageNetWords().attach(tower)


def test_words_score_without_training_and_only_with_it():
    tower = FakeTower(aligned=False)
    assert comes_into_one_space([], tower, ImageNetWords())
    assert not comes_into_one_space([], tower, None)
    task = AnomalyTask(tower, ImageText(), SinglePair(), ImageNetWords()).eval()
    task.attach(("face",))
    assert task.has_shared_space
    batch = fake_batch(categories=("face",) * 4)
    prediction, features, prototypes = task.predict_from(batch)
    rows = prototypes.embeddings[0]
    expected = tower.logit_scale * features.pooled @ (rows[1] - rows[0])
    torch.testing.assert_close(prediction.scores, expected, atol=1e-4, rtol=1e-4)


def image(name):
    from skimage import data

    return torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def offline():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(256)
    adapter = ImageNetWords()
    adapter.attach(tower)
    return tower, adapter


WORDS = ("a cat", "a cup of coffee", "a rocket", "a brick wall", "a camera", "text on a page")


@pytest.mark.weights
@pytest.mark.parametrize(("name", "word"), [("chelsea", "a cat"), ("coffee", "a cup of coffee")])
def test_photographs_are_nearest_to_their_words(offline, name, word):
    tower, adapter = offline
    with torch.no_grad():
        pooled = adapter(tower.encode_image(image(name))).pooled
        words = functional.normalize(tower.encode_text(WORDS), dim=-1)
    assert WORDS[int((pooled @ words.T).argmax())] == word


@pytest.mark.weights
def test_states_before_pooling_have_the_summary_as_mean(offline):
    tower, _ = offline
    features = tower.encode_image(image("chelsea"))
    classifier = tower.classifier()
    states, grid = classifier.dense(features)
    assert grid == (8, 8)
    torch.testing.assert_close(states.mean(1), features.summary, atol=1e-5, rtol=1e-4)
    assert len(classifier.labels) == len(classifier.weight) == 1000
    assert classifier.labels[281].startswith("tabby, tabby cat: a cat with a grey")
    best = (classifier.weight @ features.summary[0] + classifier.bias).argmax()
    assert "cat" in classifier.labels[int(best)]


@pytest.mark.weights
def test_the_offline_tower_without_its_last_stride_gives_no_states():
    from clad.towers.offline import OfflineTower

    assert OfflineTower(64, (8, 16)).classifier().dense is None


@pytest.mark.weights
def test_patches_on_the_cat_are_nearer_to_its_words_than_the_page(offline):
    tower, adapter = offline
    with torch.no_grad():
        patches = adapter(tower.encode_image(image("chelsea"))).patches[0][0]
        words = functional.normalize(tower.encode_text(WORDS), dim=-1)
    similarity = patches @ words.T
    assert similarity[:, 0].mean() > similarity[:, 1:].mean(0).max()
