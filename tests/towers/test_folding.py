from __future__ import annotations

import pytest
import torch
from torch import nn

from clad.towers.folding import fold_batch_norms
from clad.towers.image_only import ImageOnlyTower
from clad.towers.timm_image import TimmImageTower
from clad.types import ImageFeatures


class Small(ImageOnlyTower):
    """Two convolutions with batch norms; the first one's raw output may be read twice."""

    def __init__(self, reads_twice=False):
        super().__init__((8, 8), (0.5,) * 3, (0.5,) * 3)
        self.embed_dim = self.summary_dim = 5
        self.token_dims = (5,)
        self.reads_twice = reads_twice
        self.first, self.first_norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.second, self.second_norm = nn.Conv2d(5, 5, 1, bias=False), nn.BatchNorm2d(5)
        generator = torch.Generator().manual_seed(3)
        for norm in (self.first_norm, self.second_norm):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.copy_(torch.rand(5, generator=generator) + 0.5)
        self.freeze()

    def encode_pixels(self, pixels):
        raw = self.first(pixels)
        maps = self.second_norm(self.second(self.first_norm(raw).relu()))
        if self.reads_twice:
            maps = maps + raw
        return ImageFeatures((maps.flatten(2).transpose(1, 2),), ((8, 8),), maps.mean((2, 3)))


PIXELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_features_stay_and_norms_go():
    tower = Small()
    before = tower.encode_pixels(PIXELS)
    assert fold_batch_norms(tower) == 2
    after = tower.encode_pixels(PIXELS)
    torch.testing.assert_close(after.tokens[0], before.tokens[0], atol=1e-6, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not tower.second.training


def test_weights_are_those_of_the_definition():
    tower = Small()
    weight, norm = tower.second.weight.clone(), tower.second_norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    fold_batch_norms(tower)
    torch.testing.assert_close(tower.second.weight, weight * scale[:, None, None, None])
    torch.testing.assert_close(tower.second.bias, norm.bias - norm.running_mean * scale)


def test_a_second_time_finds_nothing():
    tower = Small()
    fold_batch_norms(tower)
    assert fold_batch_norms(tower) == 0


def test_output_that_is_read_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"set model.execution\.fold_batch_norm to false"):
        fold_batch_norms(Small(reads_twice=True))


def test_a_convolution_that_is_called_twice_is_left_alone():
    class Shared(Small):
        def encode_pixels(self, pixels):
            maps = self.second_norm(self.second(self.second(self.first(pixels)).relu()))
            return ImageFeatures((maps.flatten(2).transpose(1, 2),), ((8, 8),), maps.mean((2, 3)))

    assert fold_batch_norms(Shared()) == 0


def test_norms_with_an_activation_keep_it():
    tower = TimmImageTower("test_efficientnet", "random", image_size=32, layers=(1, 3))
    generator = torch.Generator().manual_seed(5)
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    pixels = torch.randn(1, 3, 32, 32, generator=generator)
    before = tower.encode_pixels(pixels)
    assert fold_batch_norms(tower) > 5
    after = tower.encode_pixels(pixels)
    pairs = zip((*before.tokens, before.summary), (*after.tokens, after.summary), strict=True)
    for old, new in pairs:
        torch.testing.assert_close(new, old, atol=float(1e-5 * old.abs().max()), rtol=1e-4)


@pytest.mark.weights
def test_all_norms_of_the_packaged_network_are_merged():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(64, words=False)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(6))
    before = tower.encode_pixels(pixels)
    assert fold_batch_norms(tower) == 49, "one per convolution"
    after = tower.encode_pixels(pixels)
    pairs = zip((*before.tokens, before.summary), (*after.tokens, after.summary), strict=True)
    for old, new in pairs:
        torch.testing.assert_close(new, old, atol=float(1e-5 * old.abs().max()), rtol=0)
