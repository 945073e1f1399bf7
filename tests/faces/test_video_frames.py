from __future__ import annotations

import numpy as np
import pytest
from tiny_videos import STEP, cut_short, write_video

from clad.faces.video import read_frames, read_numbered, spaced
from clad.faces.video_files import is_video


def test_spacing_by_hand() -> None:
    assert spaced(100, 1) == [0]
    assert spaced(10, 4) == [0, 3, 6, 9]
    assert spaced(5, 3) == [0, 2, 4]
    assert spaced(3, 32) == [0, 1, 2]
    assert spaced(0, 4) == []


@pytest.mark.parametrize("count", [1, 2, 7, 31, 300])
@pytest.mark.parametrize("wanted", [1, 2, 8, 32])
def test_spacing_covers_both_ends_once(count, wanted) -> None:
    numbers = spaced(count, wanted)
    assert len(numbers) == min(count, wanted) == len(set(numbers))
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    if len(numbers) > 1:
        assert numbers[-1] == count - 1
        steps = np.diff(numbers)
        assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_frames_are_those_that_were_written(tmp_path, suffix) -> None:
    found = read_frames(write_video(tmp_path / f"clip{suffix}", 25), 4)
    assert (found.status, found.reason) == ("ok", "")
    assert (found.num_asked, found.num_decoded, found.num_promised) == (4, 25, 25)
    assert [frame.number for frame in found.frames] == [0, 8, 16, 24]
    for frame in found.frames:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert abs(frame.image.mean() - STEP * frame.number) < 5


def test_channels_are_red_green_blue(tmp_path) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[...] = (200, 90, 20)
    found = read_frames(write_video(tmp_path / "clip.avi", [frame]), 1)
    np.testing.assert_allclose(found.frames[0].image.mean(axis=(0, 1)), (200, 90, 20), atol=4)


def test_short_video_gives_every_frame(tmp_path) -> None:
    found = read_frames(write_video(tmp_path / "clip.avi", 3), 32)
    assert [frame.number for frame in found.frames] == [0, 1, 2]
    assert (found.status, found.num_asked) == ("ok", 32)


def test_truncated_video_is_spread_over_what_decodes(tmp_path) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    noise = list(blocks.repeat(8, axis=1).repeat(8, axis=2))
    path = cut_short(write_video(tmp_path / "clip.avi", noise), 0.6)
    found = read_frames(path, 4)
    assert found.status == "truncated"
    assert 4 < found.num_decoded < found.num_promised == 20
    assert [frame.number for frame in found.frames] == spaced(found.num_decoded, 4)
    assert f"expected 20 frames, got {found.num_decoded} in " in found.reason
    assert np.abs(found.frames[0].image.astype(int) - noise[0]).mean() < 25


def test_video_without_its_index_is_unreadable(tmp_path) -> None:
    found = read_frames(cut_short(write_video(tmp_path / "clip.mp4", 20), 0.5), 4)
    assert (found.status, found.frames, found.num_decoded) == ("unreadable", (), 0)
    assert "cannot be decoded at" in found.reason


def test_files_that_are_no_videos(tmp_path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("no video " * 50)
    for name, reason in (
        ("empty.mp4", "empty file (0 bytes)"),
        ("words.mp4", "cannot be decoded"),
        ("gone.mp4", "found nothing at"),
    ):
        found = read_frames(tmp_path / name, 4)
        assert found.status == "unreadable", name
        assert reason in found.reason
        assert name in found.reason


def test_video_without_frames(tmp_path) -> None:
    found = read_frames(write_video(tmp_path / "clip.avi", 0), 4)
    assert found.status in ("no frames", "unreadable")
    assert found.frames == ()
    assert found.reason


def test_at_least_one_frame_is_asked_for(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"expected num_frames in \[1, inf\], got 0"):
        read_frames(tmp_path / "clip.mp4", 0)


def test_numbered_frames(tmp_path) -> None:
    path = write_video(tmp_path / "clip.avi", 10)
    found = read_numbered(path, [2, 7])
    assert [frame.number for frame in found] == [2, 7]
    assert [round(frame.image.mean() / STEP) for frame in found] == [2, 7]
    with pytest.raises(ValueError, match=r"up to number 12 in .*clip\.avi, got 10 frames"):
        read_numbered(path, [2, 12])
    with pytest.raises(FileNotFoundError, match=r"found nothing at .*gone\.avi"):
        read_numbered(tmp_path / "gone.avi", [0])


def test_names_of_videos(tmp_path) -> None:
    assert is_video(tmp_path / "a.MP4")
    assert not is_video(tmp_path / ".a.mp4")
    assert not is_video(tmp_path / "a.png")
