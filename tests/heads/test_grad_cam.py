"""GradCam against hand-computed tables and against finite differences."""

from __future__ import annotations

import pytest
import torch
from made_features import features_of
from torch.nn import functional

from clad.heads.fused import Fused
from clad.heads.grad_cam import GradCam, grad_cam
from clad.heads.image_text import ImageText
from clad.heads.normal_statistics import NormalStatistics
from clad.types import Alignment

SCALE = 7.0
NAMES = ("nut", "nut")
GENERATOR = torch.Generator().manual_seed(3)
WORDS = functional.normalize(torch.randn(2, 5, dtype=torch.float64, generator=GENERATOR), dim=-1)
PROJECTION = torch.randn(4, 5, dtype=torch.float64, generator=GENERATOR)
MAPS = torch.randn(2, 4, 2, 3, dtype=torch.float64, generator=GENERATOR)


def image_logits(tokens: torch.Tensor) -> torch.Tensor:
    """(B, 2) of a network that pools (B, P, 4) tokens unevenly and bends them."""
    weights = torch.linspace(0.5, 1.5, tokens.shape[1], dtype=tokens.dtype)[:, None]
    pooled = torch.tanh((weights * tokens).mean(1)) @ PROJECTION
    return SCALE * functional.normalize(pooled, dim=-1) @ WORDS.T


def looked_at(maps: torch.Tensor = MAPS):
    features = features_of(maps.clone().requires_grad_())
    logits = image_logits(features.tokens[0])
    return features, Alignment(logits, (), (), SCALE)


def evidence(tokens: torch.Tensor, output: str, sigma: float) -> torch.Tensor:
    """(B,) from the definition: logits apart, or one minus the Gaussian of the distance."""
    logits = image_logits(tokens)
    if output == "logit":
        return logits[:, 1] - logits[:, 0]
    squared = 2 - 2 * logits[:, 0] / SCALE
    return 1 - torch.exp(-squared / sigma)


def slow_map(tokens: torch.Tensor, output: str, sigma: float, rectified: bool) -> torch.Tensor:
    """(B, P): central differences of the score by every single token value, then Grad-CAM."""
    step = 1e-5
    slopes = torch.zeros_like(tokens)
    for index in torch.cartesian_prod(*map(torch.arange, tokens.shape)).tolist():
        ahead, behind = tokens.clone(), tokens.clone()
        ahead[tuple(index)] += step
        behind[tuple(index)] -= step
        change = evidence(ahead, output, sigma) - evidence(behind, output, sigma)
        slopes[tuple(index)] = change[index[0]] / (2 * step)
    count, positions, channels = tokens.shape
    heat = torch.zeros(count, positions, dtype=torch.float64)
    for b in range(count):
        for p in range(positions):
            total = 0.0
            for k in range(channels):
                weight = sum(slopes[b, q, k].item() for q in range(positions)) / positions
                total += weight * tokens[b, p, k].item()
            heat[b, p] = max(total, 0.0) if rectified else total
    return heat


def test_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    gradients = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    # w = (0.5, 1): 0.5 + 2 and 1.5 - 1; turned round, both fall below 0.
    assert grad_cam(tokens, gradients).tolist() == [[2.5, 0.5]]
    assert grad_cam(tokens, -gradients).tolist() == [[0.0, 0.0]]
    assert grad_cam(tokens, -gradients, rectified=False).tolist() == [[-2.5, -0.5]]
    with pytest.raises(ValueError, match=r"expected gradients of shape \(1, 2, 2\), got"):
        grad_cam(tokens, gradients[:, :1])


@pytest.mark.parametrize(
    ("output", "sigma", "rectified"),
    [("logit", 1.0, True), ("gaussian", 0.7, True), ("logit", 1.0, False)],
)
def test_map_is_that_of_finite_differences(output, sigma, rectified) -> None:
    features, alignment = looked_at()
    head = GradCam(output=output, sigma=sigma, rectified=rectified, sigma_px=0)
    found = head(features, alignment, NAMES, (2, 3))
    expected = slow_map(features.tokens[0].detach(), output, sigma, rectified)
    assert (expected > 0).any(1).all()
    assert (expected <= 0).any(1).all()
    torch.testing.assert_close(found.maps.flatten(1).double(), expected, atol=1e-5, rtol=1e-4)
    score = evidence(features.tokens[0].detach(), output, sigma)
    torch.testing.assert_close(found.scores.double(), score, atol=1e-5, rtol=1e-4)


def test_a_unit_embedding_that_is_linear_in_the_tokens_has_as_much_heat_below_zero_as_above():
    """Scaling all tokens changes nothing, so the map sums up to 0 (Euler): no image is all hot."""
    features = features_of(MAPS.clone().requires_grad_())
    pooled = functional.normalize(features.tokens[0].mean(1) @ PROJECTION, dim=-1)
    alignment = Alignment(SCALE * pooled @ WORDS.T, (), (), SCALE)
    maps = GradCam(sigma_px=0)(features, alignment, NAMES, (2, 3)).maps
    assert maps.abs().amax() > 0.1
    torch.testing.assert_close(maps.sum((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("output", ["logit", "gaussian"])
def test_scores_are_those_of_image_text(output) -> None:
    features, alignment = looked_at()
    expected = ImageText(output, 0.5)(features, alignment, NAMES, (4, 6)).scores
    found = GradCam(output=output, sigma=0.5)(features, alignment, NAMES, (4, 6))
    assert torch.equal(found.scores, expected)
    assert found.maps.shape == (2, 4, 6)
    assert not found.scores.requires_grad
    assert not found.maps.requires_grad


def test_an_image_does_not_touch_the_map_of_another() -> None:
    together = GradCam()(*looked_at(), NAMES, (4, 6)).maps
    for row in range(2):
        alone = GradCam()(*looked_at(MAPS[row : row + 1]), NAMES[:1], (4, 6)).maps
        torch.testing.assert_close(alone[0], together[row])


def test_layers_are_counted_from_either_end() -> None:
    first, second = MAPS.clone().requires_grad_(), MAPS.clone().requires_grad_()
    features = features_of(first, second)
    logits = image_logits(features.tokens[0] + 3 * features.tokens[1])
    alignment = Alignment(logits, (), (), SCALE)
    by_layer = {
        layer: GradCam(layer)(features, alignment, NAMES, (2, 3)).maps for layer in (0, 1, -1, -2)
    }
    assert torch.equal(by_layer[0], by_layer[-2])
    assert torch.equal(by_layer[1], by_layer[-1])
    assert not torch.allclose(by_layer[0], by_layer[1])
    with pytest.raises(ValueError, match=r"expected layer to be one of -1, -2, 0, 1; got '2'"):
        GradCam(2)(features, alignment, NAMES, (2, 3))


def test_a_layer_beside_the_way_to_the_embedding_is_refused() -> None:
    features, alignment = looked_at()
    beside = features_of(MAPS.clone().requires_grad_())
    with pytest.raises(
        ValueError, match=r"tokens of layer -1 on the way to the image embedding .* earlier layer"
    ):
        GradCam()(beside, alignment, NAMES, (2, 3))
    with pytest.raises(ValueError, match=r"expected features with a graph .* got plain tensors"):
        GradCam()(features.map(torch.Tensor.detach), alignment, NAMES, (2, 3))


def test_a_fusion_passes_on_what_its_heads_need() -> None:
    assert not Fused([ImageText()]).needs_gradients
    assert Fused([NormalStatistics(), GradCam()]).needs_gradients


def test_two_of_them_share_a_graph_in_a_fusion() -> None:
    features, alignment = looked_at()
    heads = [GradCam(), GradCam(output="gaussian")]
    first = [head(features, alignment, NAMES, (2, 3)).maps for head in heads]
    again = [head(features, alignment, NAMES, (2, 3)).maps for head in heads]
    assert all(map(torch.equal, first, again))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "probability"}, "expected output to be one of gaussian, logit"),
        ({"sigma": 0.0}, "expected sigma > 0, got 0.0"),
        ({"sigma_px": -1}, "expected sigma_px in"),
    ],
)
def test_wrong_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        GradCam(**settings)
