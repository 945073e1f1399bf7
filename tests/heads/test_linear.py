from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeTower, fake_batch
from made_features import features_of, random_features, tower
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from clad.features import enlarge, log_covariances, token_maps
from clad.heads.linear import Linear

NAMES = ("a", "b")


def made_tower(*widths, embed_dim=3, summary_dim=1, aligned=False):
    found = tower(*widths)
    found.embed_dim, found.summary_dim, found.is_aligned = embed_dim, summary_dim, aligned
    return found


def attached(seen_tower, **settings) -> Linear:
    head = Linear(**settings)
    head.attach(seen_tower, NAMES)
    return head.eval()


def count(head) -> int:
    return sum(p.numel() for p in head.parameters() if p.requires_grad)


@pytest.mark.parametrize("standardise", [False, True])
def test_clip_l_14_learns_1538_numbers(standardise) -> None:
    head = attached(made_tower(1024, embed_dim=768, aligned=True), standardise=standardise)
    assert count(head) == 768 * 2 + 2 == 1_538


def test_it_begins_undecided_whatever_the_seed() -> None:
    features = random_features(2)
    head = attached(made_tower(3, 5), patches=True, sees="summary")
    assert head.classify(features, None).image_logits.tolist() == [[0, 0], [0, 0]]
    assert not head(features, None, NAMES, (8, 8)).maps.any()


class TestWhatItSees:
    @pytest.mark.parametrize(
        ("sees", "aligned", "seen"),
        [
            ("auto", True, "embedding"),
            ("auto", False, "summary"),
            ("embedding", False, "embedding"),
            ("summary", True, "summary"),
        ],
    )
    def test_image_vectors(self, sees, aligned, seen):
        clip = FakeTower(aligned=True)
        features = clip.encode_image(fake_batch().images)
        clip.is_aligned = aligned
        head = attached(clip, sees=sees, standardise=False)
        nn.init.normal_(head.image.linear.weight)
        nn.init.normal_(head.image.linear.bias)
        weight, bias = head.image.linear.weight.detach(), head.image.linear.bias.detach()
        expected = getattr(features, seen) @ weight.T + bias
        found = head.classify(features, None)
        torch.testing.assert_close(found.image_logits.detach(), expected)
        scores = head(features, None, NAMES * 2, (32, 32)).scores.detach()
        torch.testing.assert_close(scores, expected[:, 1] - expected[:, 0])

    def test_an_adapters_vector_takes_the_place_of_an_embedding(self):
        features = random_features(2)
        pooled = functional.normalize(torch.randn(2, 3), dim=1)
        aligned = features.__class__(features.tokens, features.grids, features.summary, (), pooled)
        head = attached(made_tower(3, 5), sees="embedding", standardise=False)
        nn.init.ones_(head.image.linear.weight)
        found = head.classify(aligned, None).image_logits.detach()
        torch.testing.assert_close(found, pooled.sum(1, keepdim=True).expand(2, 2))

    def test_statistics_are_means_and_deviations_of_the_chosen_layers(self):
        features = random_features(2)
        head = attached(made_tower(3, 5), sees="statistics", layers=(1,), standardise=False)
        assert head.image.linear.in_features == 1 + 2 * 5
        with torch.no_grad():
            head.image.linear.weight[1] = torch.arange(11.0)
        tokens = features.tokens[1].numpy()
        rows = np.concatenate([features.summary.numpy(), tokens.mean(1), tokens.std(1)], axis=1)
        found = head(features, None, NAMES, (8, 8)).scores.detach()
        np.testing.assert_allclose(found, rows @ np.arange(11), rtol=1e-4)

    def test_covariances_are_those_of_the_chosen_layers(self):
        features = random_features(2)
        head = attached(made_tower(3, 5), sees="covariances", layers=(1,), standardise=False)
        assert head.image.linear.in_features == 5 * 6 // 2
        with torch.no_grad():
            head.image.linear.weight[1] = torch.arange(15.0)
        rows = log_covariances(token_maps(features, (1,))).numpy()
        found = head(features, None, NAMES, (8, 8)).scores.detach()
        np.testing.assert_allclose(found, rows @ np.arange(15) / np.sqrt(15), rtol=1e-4)

    def test_covariances_of_layers_count_alike(self):
        features = random_features(2)
        head = attached(made_tower(3, 5), sees="covariances", standardise=False)
        assert head.image.linear.in_features == 6 + 15
        with torch.no_grad():
            head.image.linear.weight[1] = 1
        rows = log_covariances(token_maps(features)).numpy()
        expected = rows[:, :6].sum(1) / np.sqrt(6) + rows[:, 6:].sum(1) / np.sqrt(15)
        found = head(features, None, NAMES, (8, 8)).scores.detach()
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    def test_standardised_by_what_training_saw(self):
        features = random_features(40, seed=3)
        head = attached(made_tower(3, 5), sees="statistics").train()
        for _ in range(200):
            head.classify(features, None)
        head.eval()
        with torch.no_grad():
            head.image.linear.weight[1] = 1
        tokens = [layer.numpy().astype(np.float64) for layer in features.tokens]
        columns = [s for layer in tokens for s in (layer.mean(1), layer.std(1))]
        rows = np.concatenate(columns, axis=1)
        rows = (rows - rows.mean(0)) / rows.std(0, ddof=1)
        found = head(features, None, NAMES * 20, (8, 8)).scores.detach()
        np.testing.assert_allclose(found, rows.sum(1), atol=1e-3)


def test_trained_to_the_end_it_is_sklearns_logistic_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    features = random_features(60, seed=1)
    labels = torch.randint(0, 2, (60,), generator=generator)
    head = attached(made_tower(3, 5), sees="statistics", standardise=False)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(head.classify(features, None).image_logits, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    rows = head._vectors(features).numpy()
    oracle = LogisticRegression(C=np.inf, tol=1e-8, max_iter=5000).fit(rows, labels.numpy())
    found = head(features, None, NAMES * 30, (8, 8)).scores.detach().numpy()
    np.testing.assert_allclose(found, oracle.decision_function(rows), atol=0.02)


class TestMaps:
    def features(self):
        return features_of(torch.arange(8.0).view(1, 2, 2, 2), torch.ones(1, 1, 1, 1))

    def head(self, **settings) -> Linear:
        head = attached(
            made_tower(2, 1), sees="summary", standardise=False, patches=True, **settings
        )
        with torch.no_grad():
            head.maps[0].linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
            head.maps[1].linear.bias.copy_(torch.tensor([1.0, 7.0]))
            head.image.linear.bias.copy_(torch.tensor([0.0, 0.5]))
        return head

    def test_each_layer_has_its_own_two_logits(self):
        found = self.head().classify(self.features(), None)
        assert found.patch_logits[0].tolist() == [[[0, 8], [1, 10], [2, 12], [3, 14]]]
        assert found.patch_logits[1].tolist() == [[[1, 7]]]
        assert found.grids == ((2, 2), (1, 1))
        assert found.logit_scale == 1

    def test_the_map_is_the_mean_of_the_layers(self):
        found = self.head(sigma_px=0.0)(self.features(), None, ("a",), (6, 6))
        first = enlarge(torch.tensor([[[8.0, 9.0], [10.0, 11.0]]]), (6, 6))
        torch.testing.assert_close(found.maps.detach(), (first + 6) / 2)

    @pytest.mark.parametrize(
        ("score", "expected"), [("image", 0.5), ("patches", 8.5), ("mean", 4.5)]
    )
    def test_scores(self, score, expected):
        found = self.head(score=score, top_share=0.0)(self.features(), None, ("a",), (6, 6))
        assert found.scores.item() == pytest.approx(expected)
        assert {n: p.item() for n, p in found.parts.items()} == {"image": 0.5, "patches": 8.5}

    def test_probabilities_are_the_softmax_of_both(self):
        found = self.head(output="probability")(self.features(), None, ("a",), (6, 6))
        expected = torch.softmax(torch.tensor([0.0, 0.5]), 0)[1]
        torch.testing.assert_close(found.scores[0].detach(), expected)
        assert 0 <= found.maps.min() <= found.maps.max() <= 1

    def test_without_patches_there_is_none(self):
        head = attached(made_tower(2, 1), sees="summary")
        assert head(self.features(), None, ("a",), (6, 6)).maps is None
        assert head.classify(self.features(), None).patch_logits == ()


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"sees": "words"},
                "expected sees to be one of auto, covariances, embedding",
            ),
            ({"score": "patches"}, "expected patches for the score of patches, got patches: false"),
            ({"score": "map"}, "expected score to be one of image, mean, patches"),
            ({"output": "x"}, "expected output to be one of logit, probability"),
            ({"top_share": 2.0}, r"expected top_share in \[0, 1\], got 2.0"),
            ({"sigma_px": -1.0}, "expected sigma_px in"),
        ],
    )
    def test_settings_out_of_range(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Linear(**settings)

    def test_layers_that_are_not_there(self):
        with pytest.raises(ValueError, match="expected layer to be one of 0, 1; got '2'"):
            attached(made_tower(3, 5), layers=(2,))

    def test_no_embedding(self):
        head = attached(made_tower(3, 5), sees="embedding")
        with pytest.raises(ValueError, match=r"set model\.head\.sees to summary or statistics"):
            head.classify(random_features(2), None)

    def test_another_width(self):
        head = attached(made_tower(3, 5, summary_dim=4))
        with pytest.raises(ValueError, match=r"of shape \('any', 4\), got \(2, 1\)"):
            head.classify(random_features(2), None)
