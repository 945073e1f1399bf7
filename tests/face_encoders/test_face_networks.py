"""SqueezeFacePoseNet and MobileFaceNet: layers, counts, normalisation, files of weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from clad.face_encoders.mobile_face_net import MobileFaceNet, MobileFaceNetwork
from clad.face_encoders.squeeze_face_pose_net import SqueezeFacePoseNet, SqueezeNetwork


def faces(count=2, size=(20, 18)):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *size), generator=generator).to(torch.uint8)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def squeeze():
    return SqueezeFacePoseNet(allow_random=True)


@pytest.fixture(scope="module")
def mobile():
    return MobileFaceNet(allow_random=True)


# SqueezeFacePoseNet


@pytest.mark.parametrize(("separable", "published"), [(False, 1_235_496), (True, 694_056)])
def test_number_of_weights(separable, published):
    assert count(SqueezeFacePoseNet(separable=separable, allow_random=True)) == published


@pytest.mark.parametrize("separable", [False, True])
def test_outputs_have_the_published_sizes(separable):
    """The table of the published graph; 113 -> 56 -> 27 -> 13 needs pools without padding."""
    network, seen = SqueezeNetwork(separable), {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda m, g, out, name=name: seen.update({name: out.shape}))
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 113, 113)).shape == (1, 1000)
    sizes = {name: (shape[2], shape[1]) for name, shape in seen.items()}
    assert sizes == {
        "conv1": (113, 64), "fire2": (56, 128), "fire3": (56, 128), "fire4": (56, 256),
        "fire5": (27, 256), "fire6": (27, 384), "fire7": (27, 384), "fire8": (27, 512),
        "fire9": (13, 512), "conv10": (13, 1000),
    }  # fmt: skip


def test_it_is_18_convolutions_deep_and_each_has_a_bias():
    convolutions = [m for m in SqueezeNetwork(False).modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2 + 8 * 3  # two of each fire module lie side by side
    assert all(each.bias is not None for each in convolutions)


def test_grouped_expansions_have_four_filters_per_squeezed_channel():
    for number in range(2, 10):
        expand = SqueezeNetwork(True).get_submodule(f"fire{number}").expand3
        assert expand.weight.shape == (4 * expand.groups, 1, 3, 3)
        assert expand.groups == expand.in_channels


def test_its_embedding_written_out(squeeze):
    """Mean colour taken off, no scaling; every step spelled out on the named tensors."""
    w = squeeze.network.state_dict()
    images = faces(1, (113, 113))
    mean = torch.tensor([131.0912, 103.8827, 91.4953])
    x = images.float() - mean[None, :, None, None]

    def convolve(states, name, padding=0):
        return functional.conv2d(states, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    x = functional.max_pool2d(torch.relu(convolve(x, "conv1", 1)), 3, 2, ceil_mode=False)
    for number in range(2, 10):
        s = torch.relu(convolve(x, f"fire{number}.squeeze"))
        left = torch.relu(convolve(s, f"fire{number}.expand1"))
        right = torch.relu(convolve(s, f"fire{number}.expand3", 1))
        x = torch.cat([left, right], dim=1)
        if number in (4, 8):
            x = functional.max_pool2d(x, 3, 2)
    expected = torch.relu(convolve(x, "conv10")).mean(dim=(2, 3))
    assert expected.max() > 0
    torch.testing.assert_close(
        squeeze(images), expected, rtol=1e-4, atol=1e-4 * float(expected.max())
    )


# MobileFaceNet


def test_mobile_face_net_has_the_published_tensors(mobile):
    """Names and shapes of the checkpoint 068.ckpt of Xiaoccer/MobileFaceNet_Pytorch."""
    shapes = {name: tuple(value.shape) for name, value in mobile.network.state_dict().items()}
    assert len(shapes) == 7 + 7 + 15 * 20 + 7 + 6 + 6
    assert shapes["conv1.conv.weight"] == (64, 3, 3, 3)
    assert shapes["dw_conv1.conv.weight"] == (64, 1, 3, 3)
    assert shapes["dw_conv1.prelu.weight"] == (64,)
    widths = [shapes[f"blocks.{n}.conv.0.weight"][:2] for n in range(15)]
    assert (
        widths == [(128, 64)] * 5 + [(256, 64)] + [(256, 128)] * 6 + [(512, 128)] + [(256, 128)] * 2
    )
    assert shapes["blocks.12.conv.7.running_var"] == (128,)
    assert shapes["conv2.prelu.weight"] == (512,)
    assert shapes["linear7.conv.weight"] == (512, 1, 7, 6)
    assert shapes["linear1.conv.weight"] == (128, 512, 1, 1)


def test_mobile_face_net_halves_four_times():
    network, seen = MobileFaceNetwork().eval(), []
    for module in (network.conv1, *network.blocks, network.linear7):
        module.register_forward_hook(lambda m, g, out: seen.append(tuple(out.shape[2:])))
    with torch.no_grad():
        network(torch.zeros(1, 3, 112, 96))
    expected = [(56, 48)] + [(28, 24)] * 5 + [(14, 12)] * 7 + [(7, 6)] * 3 + [(1, 1)]
    assert seen == expected


def test_residuals_where_nothing_changes_shape():
    network = MobileFaceNetwork()
    residual = [block.is_residual for block in network.blocks]
    assert residual == [False] + [True] * 4 + [False] + [True] * 6 + [False] + [True] * 2
    block = network.blocks[1].eval()
    states = torch.randn(1, 64, 5, 5)
    torch.testing.assert_close(block(states), states + block.conv(states))


def test_mobile_face_net_normalises_as_it_was_trained(mobile):
    images = faces(2, (112, 96))
    with torch.no_grad():
        expected = mobile.network((images.float() - 127.5) / 128)
    torch.testing.assert_close(mobile(images), expected)


def test_only_the_centre_of_a_crop_is_looked_at():
    images = faces(2, (224, 192))
    framed = images.clone()
    framed[:, :, :56], framed[:, :, -56:] = 0, 255
    framed[..., :48], framed[..., -48:] = 255, 0
    encoder = MobileFaceNet(centre=0.5, allow_random=True)
    assert torch.equal(encoder(images), encoder(framed))
    with torch.no_grad():
        middle = encoder.network((images[..., 56:168, 48:144].float() - 127.5) / 128)
    torch.testing.assert_close(encoder(images), middle)


def test_the_share_of_the_centre_is_checked():
    with pytest.raises(ValueError, match=r"expected centre in \[0.05, 1\], got 1.3"):
        MobileFaceNet(centre=1.3, allow_random=True)


# Files of weights


@pytest.fixture
def other():
    torch.manual_seed(5)
    return MobileFaceNetwork()


@pytest.mark.parametrize("key", ["net_state_dict", None])
def test_a_file_is_read_with_and_without_the_checkpoints_key(tmp_path, mobile, other, key):
    tensors = other.state_dict()
    torch.save({key: tensors, "epoch": 68} if key else tensors, tmp_path / "w.ckpt")
    encoder = MobileFaceNet(tmp_path / "w.ckpt")
    with torch.no_grad():
        expected = other.eval()((faces(2, (112, 96)).float() - 127.5) / 128)
    torch.testing.assert_close(encoder(faces(2, (112, 96))), expected)
    assert not torch.equal(encoder.fingerprint, mobile.fingerprint)


def change(tensors, name):
    if name == "missing":
        del tensors["conv1.bn.bias"]
    elif name == "surplus":
        tensors["head.weight"] = torch.zeros(1)
    else:
        tensors["linear1.conv.weight"] = torch.zeros(64, 512, 1, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "got no conv1.bn.bias; give weights of this very network"),
        ("surplus", "got an unknown head.weight;"),
        ("shape", r"got linear1.conv.weight of shape \(64, 512, 1, 1\) instead of \(128, 512"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, other, name, message):
    tensors = dict(other.state_dict())
    change(tensors, name)
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match=f"expected the 333 tensors of MobileFaceNetwork.*{message}"
    ):
        MobileFaceNet(tmp_path / "w.pt")


def test_files_that_are_missing_or_something_else_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected weights of MobileFaceNetwork at .*gone"):
        MobileFaceNet(tmp_path / "gone.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"expected a torch file of tensors at .*text.pt"):
        MobileFaceNet(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"expected tensors by name in .*list.pt, got list"):
        MobileFaceNet(tmp_path / "list.pt")


def test_random_weights_do_not_touch_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    MobileFaceNet(allow_random=True)
    assert torch.equal(torch.rand(1), expected)
