"""torchvision's SqueezeNet as a tower."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from clad.towers.squeeze_net import SqueezeNetTower


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 64, 80), generator=torch.Generator().manual_seed(0)).byte()


def test_features_are_those_of_torchvision(tmp_path, images):
    torch.manual_seed(4)
    model = models.squeezenet1_1().eval()
    path = tmp_path / "squeezenet.pth"
    torch.save(model.state_dict(), path)
    tower = SqueezeNetTower(pretrained=str(path), image_size=(64, 80), layers=(1, 8))
    pixels = tower.prepare(images)
    found = tower.encode_pixels(pixels)
    with torch.no_grad():
        last = model.features(pixels)
        early = model.features[:4](pixels)
    torch.testing.assert_close(found.tokens[0], early.flatten(2).mT, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.tokens[1], last.flatten(2).mT, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.summary, last.mean((2, 3)), atol=1e-5, rtol=1e-4)
    assert tower.token_dims == (128, 512)
    assert tower.summary_dim == 512


@pytest.mark.parametrize(("version", "weights"), [("1_0", 735424), ("1_1", 722496)])
def test_it_has_the_weights_of_the_published_trunk(version, weights):
    # 1,248,424 and 1,235,496 with the classifier of 512 x 1000 + 1000.
    tower = SqueezeNetTower(version, "random")
    assert sum(p.numel() for p in tower.parameters()) == weights
    assert [block.width for block in tower.image_parts().blocks][::7] == [128, 512]


def test_the_seed_decides_random_weights():
    first, again, other = (SqueezeNetTower("1_1", "random", seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first.state_dict(), again.state_dict(), rtol=0, atol=0)
    assert not torch.equal(first.features[0].weight, other.features[0].weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": None}, "got none; give 'download', a file or 'random'"),
        ({"pretrained": "imagenet"}, "expected weights of SqueezeNet, got 'imagenet'"),
        ({"version": "2"}, "expected version to be one of 1_0, 1_1; got '2'"),
        ({"layers": (0, 8)}, r"expected layers between 1 and 8, ascending, got \(0, 8\)"),
        ({"image_size": 16}, "expected image_size of at least 32, got 16"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SqueezeNetTower(**({"pretrained": "random"} | arguments))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(models.squeezenet1_0().state_dict(), path)
    with pytest.raises(ValueError, match=r"weights of squeezenet1_1, got .*size mismatch"):
        SqueezeNetTower(pretrained=str(path))


def test_a_failed_download_names_the_source(monkeypatch):
    def fail(self, **arguments):
        raise OSError("no network")

    monkeypatch.setattr(models.SqueezeNet1_1_Weights, "get_state_dict", fail)
    with pytest.raises(FileNotFoundError, match=r"expected weights from https://.*got OSError"):
        SqueezeNetTower(pretrained="download")
