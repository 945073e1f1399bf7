"""Models of timm as towers: their features, weights, sizes, layers, and what is refused."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from clad.towers.timm_image import TimmImageTower
from clad.towers.timm_model import read_parts
from clad.tuning.last_n import LastN

NETS = ("test_vit.r160_in1k", "test_efficientnet.r160_in1k", "test_convnext.r160_in1k")


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("name", NETS)
def test_summary_is_what_timms_classifier_is_given_and_tokens_are_its_maps(name, images):
    tower = TimmImageTower(name, "random", random_seed=3)
    torch.manual_seed(3)
    model = timm.create_model(name, num_classes=0).eval()
    pixels = tower.prepare(images)
    features = tower.encode_pixels(pixels)
    with torch.no_grad():
        torch.testing.assert_close(features.summary, model(pixels), atol=1e-5, rtol=1e-4)
        maps = model.forward_intermediates(pixels, intermediates_only=True)
    torch.testing.assert_close(features.tokens[-1], maps[-1].flatten(2).mT, atol=1e-5, rtol=1e-4)
    assert tower.layers == (len(maps),)


def test_tokens_of_a_transformer_are_the_outputs_of_its_blocks_without_the_class_token(images):
    tower = TimmImageTower(NETS[0], "random", layers=(2, 5))
    seen = {}
    for layer in (2, 5):
        tower.model.blocks[layer - 1].register_forward_hook(
            lambda module, inputs, output, layer=layer: seen.__setitem__(layer, output)
        )
    features = tower.encode_image(images)
    assert tower.token_dims == (64, 64)
    for tokens, layer in zip(features.tokens, (2, 5), strict=True):
        assert torch.equal(tokens, seen[layer][:, 1:])


def test_size_mean_and_interpolation_are_those_of_the_weights_unless_given():
    tower = TimmImageTower("test_vit.r160_in1k", "random")
    assert tower.image_size == (160, 160)
    assert tower.mean.flatten().tolist() == [0.5] * 3
    assert tower.interpolation == "bicubic"
    given = TimmImageTower(
        "test_vit.r160_in1k", "random", 0, 64, None, (0.1, 0.2, 0.3), (1, 1, 2), "bilinear"
    )
    assert given.image_size == (64, 64)
    torch.testing.assert_close(given.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    assert given.std.flatten().tolist() == [1, 1, 2]
    assert given.interpolation == "bilinear"


@pytest.mark.parametrize(("size", "grid"), [(64, (4, 4)), ((96, 32), (6, 2))])
def test_position_embeddings_follow_the_size(size, grid, images):
    assert TimmImageTower(NETS[0], "random", image_size=size).encode_image(images).grids == (grid,)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NETS)
def test_a_file_brings_its_weights_and_its_classifier_is_left_out(name, suffix, tmp_path, images):
    torch.manual_seed(9)
    state = timm.create_model(name).state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    tower = TimmImageTower(name, str(path))
    own = tower.model.state_dict()
    assert 0 < len(own) < len(state)
    torch.testing.assert_close(own, {key: state[key] for key in own}, rtol=0, atol=0)


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = TimmImageTower(NETS[1], "random").state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    torch.testing.assert_close(TimmImageTower(NETS[1], "random").state_dict(), first)
    assert torch.equal(torch.get_rng_state(), before)
    other = TimmImageTower(NETS[1], "random", random_seed=1).state_dict()
    assert not torch.equal(other["model.conv_stem.weight"], first["model.conv_stem.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model_name": "test_vitt"},
            r"that timm lists, got 'test_vitt'; close names are .*test_v",
        ),
        ({"model_name": "test_vit.cats"}, r"a tag of test_vit among r160_in1k, got 'cats'"),
        ({"pretrained": None}, "got none; give 'download', a file or 'random'"),
        ({"pretrained": "imagenet"}, "expected weights of test_vit.r160_in1k, got 'imagenet'"),
        (
            {"model_name": "test_vit", "pretrained": "download"},
            r"as test_vit\.TAG with one of r160",
        ),
        ({"layers": (0,)}, r"expected layers of test_vit.* between 1 and 6, ascending, got \(0,\)"),
        ({"layers": (5, 2)}, "ascending"),
        ({"layers": ()}, "ascending"),
        ({"image_size": 70}, r"in multiples of \(16, 16\) for test_vit"),
        ({"interpolation": "nearest"}, "expected interpolation to be one of bicubic, bilinear"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    defaults = {"model_name": NETS[0], "pretrained": "random"}
    with pytest.raises(ValueError, match=message):
        TimmImageTower(**(defaults | arguments))


def test_a_file_of_weights_whose_normalisation_nobody_knows_is_refused(tmp_path):
    path = tmp_path / "vit.pth"
    torch.save({}, path)
    with pytest.raises(ValueError, match=r"one pixel normalisation for vit_base_patch16_224.*TAG"):
        TimmImageTower("vit_base_patch16_224", str(path))


def test_files_that_are_not_there_or_do_not_fit_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected weights at .*none\.pth, found no file"):
        TimmImageTower(NETS[0], str(tmp_path / "none.pth"))
    path = tmp_path / "weights.pth"
    torch.save({"blocks.0.norm1.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"expected weights of test_vit.*size mismatch"):
        TimmImageTower(NETS[0], str(path))
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, path)
    with pytest.raises(ValueError, match=r"a file without 'pos_embed' \(\d+ such\)"):
        TimmImageTower(NETS[0], str(path))


def test_a_failed_download_names_the_source(monkeypatch):
    def fail(name, pretrained, num_classes):
        assert pretrained
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(
        FileNotFoundError,
        match=r"weights test_vit.r160_in1k from timm/test_vit.r160_in1k, got OSError: no network; "
        "download the file",
    ):
        TimmImageTower(NETS[0], "download")


def test_words_are_refused():
    tower = TimmImageTower(NETS[1], "random")
    assert not tower.has_text
    assert list(tower.text_parameters()) == []
    with pytest.raises(ValueError, match=r"a tower that reads, got TimmImageTower for 'a cat'"):
        tower.encode_text(["a cat"])
    with pytest.raises(ValueError, match="expected a tower that tells the blocks of its text"):
        tower.text_parts()


@pytest.mark.parametrize(
    ("name", "paths", "widths", "final"),
    [
        ("test_vit", [f"blocks.{n}" for n in range(6)], [64] * 6, ["norm.weight", "norm.bias"]),
        (
            "test_resnet",
            ["layer1.0", "layer2.0", "layer3.0", "layer4.0"],
            [32, 48, 192, 96],  # the third has bottlenecks
            [],
        ),
    ],
)
def test_blocks_are_timms_groups_with_their_widths(name, paths, widths, final):
    tower = TimmImageTower(name, "random", image_size=64)
    parts = tower.image_parts()
    modules = {id(module): path for path, module in tower.model.named_modules()}
    assert [modules[id(block.module)] for block in parts.blocks] == paths
    assert [block.width for block in parts.blocks] == widths
    weights = {id(weight): path for path, weight in tower.model.named_parameters()}
    assert [weights[id(weight)] for weight in parts.final] == final


def test_the_last_blocks_learn_alone(images):
    tower = TimmImageTower(NETS[0], "random", image_size=64)
    LastN(image_blocks=1).apply(tower)
    learning = {n.split(".")[1] for n, p in tower.model.named_parameters() if p.requires_grad}
    assert learning == {"5", "weight", "bias"}
    tower.encode_image(images).summary.square().sum().backward()
    assert tower.model.blocks[5].attn.qkv.weight.grad.any()


def test_a_model_without_groups_tells_no_blocks():
    assert read_parts(nn.Conv2d(3, 4, 1), (8, 8)) is None
