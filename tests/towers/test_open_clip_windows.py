"""WinCLIP's windows against one short sequence at a time through the model's own modules."""

from __future__ import annotations

import pytest
import torch
from tiny_clip import tiny
from torch.nn import functional

from clad.towers import open_clip_windows
from clad.towers.open_clip import OpenClipTower

AVERAGE = {"vision_pool_type": "avg", "vision_final_ln_after_pool": True}


def literal_windows(visual, pixels, side):
    """(B, N, D) as the paper says: embed, add positions, select, norm, transform, project."""
    patches = visual.conv1(pixels)
    height, width = patches.shape[-2:]
    found = []
    for image in patches:
        rows = []
        for top in range(height - side + 1):
            for left in range(width - side + 1):
                sequence = [visual.class_embedding + visual.positional_embedding[0]]
                for row in range(top, top + side):
                    for column in range(left, left + side):
                        position = visual.positional_embedding[1 + row * width + column]
                        sequence.append(image[:, row, column] + position)
                states = visual.ln_pre(torch.stack(sequence))[None]
                for block in visual.transformer.resblocks:
                    states = block(states)
                rows.append(visual.ln_post(states[0, 0]) @ visual.proj)
        found.append(functional.normalize(torch.stack(rows), dim=-1))
    return torch.stack(found)


def random_pixels(count, *size):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
@pytest.mark.parametrize("changes", [{}, {"vision_ls_init_value": 0.3}, {"vision_qk_norm": True}])
def test_windows_equal_the_literal_loop(size, changes):
    tower = OpenClipTower(tiny(**changes), "random", image_size=size, window_sides=(2, 3))
    tower = tower.double()
    pixels = random_pixels(2, *size).double()
    features = tower.encode_pixels(pixels)
    assert features.window_sides == (2, 3)
    for side, windows in zip((2, 3), features.windows, strict=True):
        expected = literal_windows(tower.model.visual, pixels, side)
        torch.testing.assert_close(windows, expected, atol=1e-10, rtol=0.0)


def test_fifteen_by_fifteen_patches_give_196_and_169_windows():
    tower = OpenClipTower(tiny(vision_image_size=120), "random", window_sides=(2, 3))
    features = tower.encode_pixels(random_pixels(1, 120, 120))
    assert features.grids == ((15, 15),)
    assert [windows.shape for windows in features.windows] == [(1, 196, 32), (1, 169, 32)]


def test_batches_of_windows_do_not_change_them(monkeypatch):
    tower = OpenClipTower(tiny(), "random", window_sides=(2, 4))
    pixels = random_pixels(3, 32, 32)
    together = tower.encode_pixels(pixels)
    monkeypatch.setattr(open_clip_windows, "_TOKENS_AT_ONCE", 11)
    for ours, expected in zip(tower.encode_pixels(pixels).windows, together.windows, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0.0)


def test_windows_differ_between_images_and_places_and_leave_the_rest_alone():
    # Attention across windows instead of within them leaves one vector for all places and images.
    pixels = random_pixels(2, 32, 32)
    with_windows = OpenClipTower(tiny(), "random", window_sides=(2,)).encode_pixels(pixels)
    windows = with_windows.windows[0]
    assert (windows[0] - windows[1]).abs().max() > 1e-2
    assert windows.std(dim=1).mean() > 1e-3
    plain = OpenClipTower(tiny(), "random").encode_pixels(pixels)
    assert plain.windows is None
    assert plain.window_sides == ()
    assert torch.equal(plain.pooled, with_windows.pooled)
    assert torch.equal(plain.tokens[0], with_windows.tokens[0])


def test_a_window_sees_its_own_patches_only():
    tower = OpenClipTower(tiny(), "random", window_sides=(2,))
    pixels = random_pixels(1, 32, 32)
    changed = pixels.clone()
    changed[..., :8, :8] += 1.0  # the upper left patch lies in the first window alone
    before, after = (tower.encode_pixels(each).windows[0][0] for each in (pixels, changed))
    assert (before[0] - after[0]).abs().max() > 1e-3
    torch.testing.assert_close(before[1:], after[1:])


def test_the_largest_window_is_the_image():
    tower = OpenClipTower(tiny(), "random", window_sides=(4,))
    features = tower.encode_pixels(random_pixels(2, 32, 32))
    torch.testing.assert_close(features.windows[0][:, 0], features.pooled, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("sides", [(0,), (5,), (2, 2)])
def test_sides_that_do_not_fit_are_refused(sides):
    with pytest.raises(ValueError, match="expected different window_sides from 1 to 4"):
        OpenClipTower(tiny(), "random", window_sides=sides)


@pytest.mark.parametrize("option", [{"window_sides": (2,)}, {"cls_without_norm": True}])
def test_towers_without_a_class_token_are_refused(option):
    with pytest.raises(ValueError, match=rf"class token as image vector for {next(iter(option))}"):
        OpenClipTower(tiny(**AVERAGE), "random", **option)
