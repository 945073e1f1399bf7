from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn
from torch.nn import functional

from clad.faces import mtcnn_networks
from clad.faces.boxes import overlaps
from clad.faces.mtcnn import MTCNN
from clad.faces.mtcnn_networks import Networks, load_networks, new_networks
from clad.faces.mtcnn_stages import moved, patches, pyramid, rows_first, squared, windows

# Read off by eye: x, y of eyes, nose and corners of the mouth in scikit-image's portrait.
PORTRAIT = np.array([(204, 107), (243, 107), (225, 128), (208, 141), (242, 141)])


def image_of(seed: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 255 * torch.rand(1, 3, height, width, generator=generator)


# Networks


def test_parameters_are_those_of_the_paper() -> None:
    sizes = [sum(p.numel() for p in network.parameters()) for network in new_networks()]
    assert sizes == [6_632, 100_178, 389_040]


def test_shapes_and_ranges() -> None:
    networks = new_networks()
    probability, offsets = networks.proposal(torch.rand(2, 3, 31, 44))
    assert probability.shape == (2, 11, 17)
    assert offsets.shape == (2, 4, 11, 17)
    probability, offsets = networks.refinement(torch.rand(3, 3, 24, 24))
    assert probability.shape == (3,)
    assert offsets.shape == (3, 4)
    probability, offsets, points = networks.output(torch.rand(3, 3, 48, 48))
    assert (probability.shape, offsets.shape, points.shape) == ((3,), (3, 4), (3, 5, 2))
    assert ((probability > 0) & (probability < 1)).all()


def test_dense_layers_see_columns_before_rows_before_channels() -> None:
    network = new_networks().refinement
    images = torch.rand(2, 3, 24, 24)
    states = network.trunk(images)
    assert states.shape == (2, 64, 3, 3)
    flat = torch.stack([states[:, c, y, x] for x in range(3) for y in range(3) for c in range(64)])
    hidden = functional.prelu(network.dense4(flat.T), network.prelu4.weight)
    torch.testing.assert_close(network(images)[1], network.dense5_2(hidden))


def test_landmarks_are_all_x_then_all_y() -> None:
    network = new_networks().output
    nn.init.zeros_(network.dense6_3.weight)
    network.dense6_3.bias.data = torch.arange(10.0)
    (points,) = network(torch.rand(1, 3, 48, 48))[2]
    assert points.tolist() == [[n, n + 5] for n in range(5)]


# Stages


def test_pyramid_by_hand() -> None:
    np.testing.assert_allclose(pyramid(48, 100, 20, 0.5), [0.6, 0.3])
    np.testing.assert_allclose(pyramid(24, 100, 12, 0.5), [1, 0.5])
    assert pyramid(19, 100, 20, 0.5) == []


def test_first_stage_equals_one_network_call_per_window() -> None:
    network = new_networks().proposal
    image = image_of(0, 30, 42) / 127.5 - 1
    scale = 0.6
    with torch.no_grad():
        probability, offsets = network(image)
        ranked = probability.flatten().sort().values
        least = float(ranked[79:81].mean())  # half of them, and none so close that rounding decides
        found = windows(probability[0], offsets[0], scale, least)
        expected = []
        for top in range(0, 30 - 11, 2):
            for left in range(0, 42 - 11, 2):
                (each,), (moves,) = network(image[..., top : top + 12, left : left + 12])
                if each.item() >= least:
                    # Counted from 1, last pixel included, as the authors' MATLAB code counts.
                    first = [np.floor((2 * n + 1) / scale) for n in (top // 2, left // 2)]
                    last = [np.floor((2 * n + 12) / scale) for n in (top // 2, left // 2)]
                    x1, y1, x2, y2 = moves[:, 0, 0].tolist()
                    box = [first[0] - 1, first[1] - 1, *last]
                    expected.append([*box, each.item(), y1, x1, y2, x2])
    assert 5 < len(expected) < probability.numel()
    made = np.concatenate((found.boxes, found.scores[:, None], found.offsets), axis=1)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_boxes_move_by_shares_of_their_sides() -> None:
    boxes = np.array([(10.0, 20, 20, 40)])
    offsets = rows_first(np.array([(0.1, 0.2, -0.1, 0.5)]))  # left, top, right, bottom
    np.testing.assert_allclose(moved(boxes, offsets), [(12, 22, 25, 38)])
    np.testing.assert_allclose(moved(boxes, offsets, 1), [(11.8, 21.9, 24.5, 38.1)])
    np.testing.assert_allclose(squared(boxes), [(5, 20, 25, 40)])


def test_patches_are_means_of_areas() -> None:
    image = image_of(1, 60, 70)
    inside, outside, beyond = (4.0, 6, 52, 54), (-20.0, 30, 28, 78), (-30.0, 0, -5, 20)
    made, held = patches(image, np.array([inside, beyond, outside]), 24)
    assert held.tolist() == [0, 2]
    cut = image[0, :, 4:52, 6:54].unflatten(2, (24, 2)).unflatten(1, (24, 2)).mean(dim=(2, 4))
    torch.testing.assert_close(made[0], (cut - 127.5) / 128)
    part = functional.adaptive_avg_pool2d(image[0, :, :28, 30:70], 24)
    torch.testing.assert_close(made[1], (part - 127.5) / 128)
    none, held = patches(image, np.zeros((0, 4)), 24)
    assert (none.shape, held.tolist()) == ((0, 3, 24, 24), [])


# The detector


class Bright(nn.Module):
    """Takes a white square in a black frame for a face; looks at the middle 2/3 of its window."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        light = (images.mean(dim=1, keepdim=True) + 1) / 2
        side = 12 if self.kind == "proposal" else light.shape[-1]
        if side == 12:
            middle = functional.avg_pool2d(light[..., 2:-2, 2:-2], 8, stride=2)
        else:
            edge = side // 6
            middle = light[..., edge:-edge, edge:-edge].mean(dim=(2, 3), keepdim=True)
        whole = functional.avg_pool2d(light, side, stride=2)
        share = (2 / 3) ** 2
        likeness = (middle - (whole - share * middle) / (1 - share)).clamp(0, 1)
        if self.kind == "proposal":
            return likeness[:, 0], light.new_zeros((len(images), 4, *likeness.shape[2:]))
        shares = light.new_tensor([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.3, 0.8), (0.7, 0.8)])
        found = (likeness[:, 0, 0, 0], light.new_zeros((len(images), 4)))
        return (*found, shares.expand(len(images), 5, 2)) if self.kind == "output" else found


@pytest.mark.parametrize("longest_side_px", [1280, 100])
def test_stages_find_a_white_square(longest_side_px) -> None:
    detector = MTCNN(thresholds=(0.6, 0.6, 0.6), longest_side_px=longest_side_px)
    detector.networks = Networks(Bright("proposal"), Bright("refinement"), Bright("output"))
    image = np.zeros((120, 200, 3), np.uint8)
    image[30:90, 110:170] = 255
    face, *others = detector.detect(image)
    assert others == []
    assert overlaps(np.array(face.box), np.array([(15.0, 95.0, 105.0, 185.0)]))[0] > 0.6
    assert face.confidence > 0.6
    top, left, bottom, right = face.box
    for point, x, y in zip(face.landmarks, (3, 7, 5, 3, 7), (4, 4, 6, 8, 8), strict=True):
        at = left + x / 10 * (right - left), top + y / 10 * (bottom - top)
        np.testing.assert_allclose(point, at, rtol=1e-4)
    assert detector.detect(np.zeros((120, 200, 3), np.uint8)) == ()


@pytest.mark.parametrize("size", [(1, 1), (11, 300), (25, 25)])
def test_random_weights_run_on_any_size(size) -> None:
    detector = MTCNN(thresholds=(0.0, 0.0, 0.0))
    detector.networks = new_networks()
    for face in detector.detect(np.full((*size, 3), 200, np.uint8)):
        assert np.isfinite(face.box).all()
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float32


# Weights


@pytest.mark.parametrize("name", ["mtcnn_{}net.pt", "{}net.pt"])
def test_weights_are_read_from_a_folder(tmp_path, name) -> None:
    stored = new_networks()
    for letter, network in zip("pro", stored, strict=True):
        torch.save(network.state_dict(), tmp_path / name.format(letter))
    for network, other in zip(load_networks(tmp_path), stored, strict=True):
        assert not network.training
        for key, value in other.state_dict().items():
            torch.testing.assert_close(network.state_dict()[key], value)


def test_missing_and_wrong_weights(tmp_path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected mtcnn_pnet\.pt or pnet\.pt in "):
        MTCNN(tmp_path).detect(np.zeros((40, 40, 3), np.uint8))
    torch.save(new_networks().refinement.state_dict(), tmp_path / "pnet.pt")
    with pytest.raises(ValueError, match=r"weights of MTCNN's ProposalNetwork in .*pnet\.pt"):
        load_networks(tmp_path)
    monkeypatch.setattr(mtcnn_networks, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'clad-anomaly\[faces\]'"):
        MTCNN().networks  # noqa: B018


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"smallest_px": 5}, r"smallest_px in \[12, inf\], got 5"),
        ({"factor": 1.0}, "factor"),
        ({"thresholds": (0.5, 2.0, 0.5)}, "each of thresholds"),
        ({"longest_side_px": 2}, "longest_side_px"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        MTCNN(**setting)


def packaged() -> Path | None:
    try:
        return mtcnn_networks.packaged_weights()
    except ImportError:
        return None


@pytest.mark.weights
@pytest.mark.skipif(packaged() is None, reason="needs the package facenet-pytorch (extra faces)")
def test_pretrained_weights_find_the_portrait() -> None:
    (face,) = MTCNN().detect(data.astronaut())
    assert face.confidence > 0.99
    np.testing.assert_allclose(face.landmarks, PORTRAIT, atol=8)
    assert MTCNN().detect(data.coffee()) == ()
