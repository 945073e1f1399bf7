from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.features import crop_grids
from clad.heads.patch_text import PatchText
from clad.inputs.border import LearnableBorder
from clad.prompts.single_pair import SinglePair
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.encoding import encode_images
from clad.towers.base import Tower
from clad.types import ImageFeatures


class Frame(Tower):
    """One token per 8 x 8 pixels: the mean of their normalised red, green and blue."""

    has_text = False
    token_dims = (3,)
    summary_dim = embed_dim = 3

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size, (0.5,) * 3, (0.25,) * 3, "bilinear")

    def encode_pixels(self, pixels):
        cells = functional.avg_pool2d(pixels, 8)
        grid = (cells.shape[-2], cells.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        return ImageFeatures((tokens,), (grid,), tokens.mean(1))

    def tokenize(self, texts):
        raise NotImplementedError

    embed_tokens = encode_embeddings = tokenize


def attached(size=(224, 224), padding=34, **settings) -> tuple[LearnableBorder, Frame]:
    tower = Frame(size)
    border = LearnableBorder(padding, **settings)
    border.attach(tower)
    return border, tower


@pytest.mark.parametrize("padding", [12, 23, 34, 45, 56, 67, 78])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (160, 256)])
def test_number_of_weights(padding, height, width):
    border, _ = attached((height, width), padding)
    (learned,) = border.parameters()
    assert learned.numel() == 6 * padding * (height + width) - 12 * padding**2
    inside = (height - 2 * padding) * (width - 2 * padding)
    assert learned.numel() == 3 * (height * width - inside)


def test_published_number_of_weights():
    assert sum(p.numel() for p in attached()[0].parameters()) == 77_520


def test_the_border_is_around_the_image_that_was_resized_to_what_is_left():
    border, tower = attached((16, 24), padding=3, gain=2.0)
    with torch.no_grad():
        border.border.copy_(torch.arange(border.border.numel()).view_as(border.border) + 1.0)
    images = torch.randint(0, 256, (2, 3, 10, 18), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)  # as large as what is left, so nothing is resized
    found = border(border.prepare(images, tower))
    expected = torch.zeros(2, 3, 16, 24)
    expected[:, :, 3:13, 3:21] = (images / 255 - 0.5) / 0.25
    number = 0
    for channel in range(3):
        for row in range(16):
            for column in range(24):
                if not (3 <= row < 13 and 3 <= column < 21):
                    number += 1
                    expected[:, channel, row, column] = 2.0 * number
    torch.testing.assert_close(found.detach(), expected)


def test_delta_starts_at_zero_and_the_mean_colour_surrounds_the_image():
    border, tower = attached((16, 16), padding=4)
    assert not border.delta.any()
    grey = torch.full((1, 3, 30, 30), 0.75)
    found = border(border.prepare(grey, tower))
    expected = torch.zeros(16, 16)
    expected[4:12, 4:12] = 1.0  # (0.75 - 0.5) / 0.25
    torch.testing.assert_close(found[0, 1].detach(), expected)


def test_steps_move_the_border_and_never_the_inside():
    border, tower = attached((32, 32), padding=8)
    optimizer = torch.optim.AdamW(border.parameters(), lr=1.0, weight_decay=0.0)
    images = fake_batch().images
    for _ in range(3):
        optimizer.zero_grad()
        pixels = border(border.prepare(images, tower))
        (pixels - 5).square().mean().backward()
        optimizer.step()
    delta = border.delta.detach().clone()
    assert not delta[:, 8:24, 8:24].any()
    delta[:, 8:24, 8:24] = 1
    assert delta.abs().min() > 0


def test_one_step_of_adam_moves_delta_by_gain_times_rate():
    border, tower = attached((16, 16), padding=4, gain=50.0)
    optimizer = torch.optim.AdamW(border.parameters(), lr=0.01, weight_decay=0.0)
    border(border.prepare(fake_batch().images, tower)).sum().backward()
    optimizer.step()
    moved = border.delta.detach()[:, 0]
    torch.testing.assert_close(moved, torch.full_like(moved, -0.5))


# On the image, not on the frame


def test_a_cut_along_patches_takes_them_as_they_are():
    border, tower = attached((64, 48), padding=16)
    images = torch.rand(2, 3, 32, 16)
    found = encode_images(images, tower, border)
    assert found.grids == ((4, 2),)
    expected = functional.avg_pool2d((images - 0.5) / 0.25, 8).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found.tokens[0].detach(), expected)


def test_a_cut_through_patches_mixes_the_two_that_are_nearest():
    """Margin 1/8 of 4 patches: 3 remain, centred on 1, 2 and 3 patches from the start."""
    tokens = torch.tensor([1.0, 2.0, 4.0, 8.0])
    features = ImageFeatures((tokens.view(1, 4, 1),), ((1, 4),), torch.zeros(1, 1))
    found = crop_grids(features, (0.0, 0.125))
    assert found.grids == ((1, 3),)
    torch.testing.assert_close(found.tokens[0].flatten(), torch.tensor([1.5, 3.0, 6.0]))


def test_nothing_left_out_changes_nothing():
    features = FakeTower().encode_image(fake_batch().images)
    features = ImageFeatures(features.tokens, features.grids, features.summary, features.patches)
    found = crop_grids(features, (0.0, 0.0))
    assert found.grids == features.grids
    for before, after in zip(features.tokens, found.tokens, strict=True):
        torch.testing.assert_close(after, before)


@pytest.mark.parametrize("padding", [16, 13])
def test_a_spot_in_the_image_is_found_where_it_is(padding):
    """The brightest place of a map at image size, for cuts along patches and through them."""
    border, tower = attached((128, 96), padding)
    images = torch.full((1, 3, 256, 192), 0.5)
    images[..., 40:72, 130:162] = 1.0  # centre (56, 146)
    found = encode_images(images, tower, border)
    (height, width), tokens = found.grids[0], found.tokens[0].detach()[0, :, 0]
    heat = functional.interpolate(tokens.view(1, 1, height, width), (256, 192), mode="bilinear")[
        0, 0
    ]
    weight = heat.clamp(min=0)
    rows, columns = torch.arange(256.0) + 0.5, torch.arange(192.0) + 0.5
    assert (weight.sum(1) @ rows / weight.sum()).item() == pytest.approx(56, abs=2)
    assert (weight.sum(0) @ columns / weight.sum()).item() == pytest.approx(146, abs=2)


def test_maps_of_a_task_lie_on_the_image():
    """A border that says nothing, around a tower whose first patches see themselves alone."""
    tower = FakeTower(image_size=(64, 64))
    tower.window_sides = ()
    inputs = LearnableBorder(padding=16)
    task = AnomalyTask(tower, PatchText(sigma_px=0), SinglePair(), inputs=inputs)
    plain = AnomalyTask(FakeTower(image_size=(32, 32)), PatchText(sigma_px=0), SinglePair())
    batch = fake_batch()
    with torch.no_grad():
        for each in (task, plain):
            each.attach(("bottle", "pcb1"))
        found, expected = task.encode(batch), plain.encode(batch)
    torch.testing.assert_close(found.patches[0], expected.patches[0])
    assert found.grids == expected.grids
    assert task(batch).maps.shape == plain(batch).maps.shape


# Refusals


@pytest.mark.parametrize("padding", [16, 40])
def test_a_border_that_leaves_no_image_is_refused(padding):
    with pytest.raises(ValueError, match="padding below 16 pixels for a tower of 32 x 64, got"):
        attached((32, 64), padding)


def test_a_tower_with_windows_is_refused():
    with pytest.raises(ValueError, match="expected a tower without windows for LearnableBorder"):
        LearnableBorder(4).attach(FakeTower())


def test_features_with_windows_are_refused():
    features = FakeTower().encode_image(fake_batch().images)
    with pytest.raises(ValueError, match="without windows to crop"):
        crop_grids(features, (0.1, 0.1))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="expected padding in"):
        LearnableBorder(0)
    with pytest.raises(ValueError, match="expected gain in"):
        LearnableBorder(gain=0.0)


def test_pixels_of_another_size_are_refused():
    border, _ = attached((32, 32), padding=8)
    with pytest.raises(ValueError, match=r"expected pixels of shape \('any', 3, 16, 16\)"):
        border(torch.zeros(1, 3, 32, 32))


def test_the_yaml_is_the_published_border():
    import yaml

    path = Path(__file__).parents[2] / "configs" / "inputs" / "border.yaml"
    assert yaml.safe_load(path.read_text())["model"]["inputs"]["init_args"] == {
        "padding": 34,
        "gain": 1.0,
    }
