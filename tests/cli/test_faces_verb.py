"""clad faces on photos and videos with a fake detector of faces."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from marked_faces import SCENE, MarkedFaces, save, scene, write_detector
from PIL import Image
from tiny_recipe import clad

from clad.faces.crop import crop_aligned, crop_box, whole_frame
from clad.faces.index import read_index, read_landmarks

sys.path.insert(0, str(Path(__file__).parents[1] / "faces"))
from tiny_videos import cut_short, write_video


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder, with photos and videos below ``data``."""
    monkeypatch.chdir(tmp_path)
    write_detector(Path("marked.yaml"))
    save(Path("data/real/two.png"), scene(False, False, seed=1))
    save(Path("data/real/nobody.png"), scene(False, seed=2))
    write_video(Path("data/fake/clip.avi"), [scene(False, seed=n) for n in range(7)])
    return tmp_path


def cut(*words: str):
    return clad("faces", "data", "--output=out", "--config=marked.yaml", *words)


def test_crops_mirror_the_folder(place) -> None:
    shown = cut("--frames=3", "--size=40")
    assert shown.status == 0, shown.err
    assert "3 files, 5 frames, 5 faces, 1 frames without a face" in shown.out
    rows = read_index(Path("out/faces.csv"))
    assert [row.image for row in rows] == [
        "fake/clip/000000_0.png", "fake/clip/000003_0.png", "fake/clip/000006_0.png",
        "real/nobody/000000_0.png", "real/two/000000_0.png", "real/two/000000_1.png",
    ]  # fmt: skip
    found = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.png"))
    assert found == sorted(row.image for row in rows)
    clip, nobody, large, small = rows[0], *rows[3:]
    assert (clip.source, clip.video, rows[1].frame) == ("fake/clip.avi", True, 3)
    assert (large.box, small.box) == ((20, 54, 48, 82), (12, 10, 36, 34))
    assert (large.confidence, large.has_face, large.video) == (0.9, True, False)
    assert (nobody.box, nobody.has_face, nobody.confidence) == ((0, 0, *SCENE), False, 0)
    assert {(row.height, row.width) for row in rows} == {SCENE}
    image = scene(False, False, seed=1)
    np.testing.assert_array_equal(
        Image.open("out/real/two/000000_0.png"), crop_box(image, large.box, 40).image
    )
    np.testing.assert_array_equal(
        Image.open("out/real/nobody/000000_0.png"), whole_frame(scene(False, seed=2), 40).image
    )


def test_landmarks_are_in_pixels_of_the_crop(place) -> None:
    cut("--frames=1", "--size=80", "--margin=1.0")
    landmarks = read_landmarks(Path("out/landmarks.csv"))
    assert "real/nobody/000000_0.png" not in landmarks
    # The eye lies at 0.3 of the box, which fills the crop.
    np.testing.assert_allclose(landmarks["real/two/000000_0.png"][0], (24, 24), atol=1)


def test_aligned_faces_go_to_the_place_of_the_mean_face(place) -> None:
    cut("--frames=1", "--align", "--size=64")
    image = scene(False, False, seed=1)
    for number, face in enumerate(MarkedFaces().detect(image)):
        expected = crop_aligned(image, face.landmarks, 64)
        name = f"real/two/000000_{number}.png"
        np.testing.assert_array_equal(Image.open(Path("out") / name), expected.image)
        points = read_landmarks(Path("out/landmarks.csv"))[name]
        np.testing.assert_allclose(points, expected.points(face.landmarks), atol=1e-4)


def test_one_file(place) -> None:
    shown = clad("faces", "data/real/two.png", "--output=one", "--config=marked.yaml")
    assert shown.status == 0, shown.err
    assert {row.source for row in read_index(Path("one/faces.csv"))} == {"two.png"}


def test_unreadable_files_are_said_and_the_rest_is_done(place) -> None:
    Path("data/empty.jpg").touch()
    Path("data/words.mp4").write_text("no video")
    frames = [scene(False, seed=n) for n in range(10)]
    cut_short(write_video(Path("data/short.avi"), frames), 0.7)
    shown = cut("--frames=2")
    assert shown.status == 1
    first, second, third = shown.err.splitlines()
    assert first.startswith("unreadable: expected an image, got an empty file")
    assert second.startswith("truncated: expected 10 frames, got ")
    assert third.startswith("unreadable: expected a video, got a file that cannot be decoded")
    assert "4 files, 6 frames" in shown.out
    assert len({row.source for row in read_index(Path("out/faces.csv"))}) == 4


def write_masked(compressions: tuple[str, ...] = ("c23",)) -> tuple[Path, np.ndarray]:
    """A manipulated video with the video of its masks, as FaceForensics++ stores them."""
    folder = Path("data/manipulated_sequences/Swap")
    for name in compressions:
        write_video(folder / name / "videos/000_003.avi", [scene(True, seed=n) for n in range(6)])
    mask = np.zeros((*SCENE, 3), np.uint8)
    mask[20:32, 16:28] = 255
    write_video(folder / "masks/videos/000_003.avi", [mask] * 6)
    return folder, mask[..., 0] > 0


def test_masks_are_cut_like_their_frames(place) -> None:
    _, mask = write_masked()
    shown = cut("--frames=2", "--size=31", "--masks")
    assert shown.status == 0, shown.err
    assert "2 crops of masks" in shown.out
    base = Path("out/manipulated_sequences/Swap")
    names = ["000000_0.png", "000005_0.png"]
    for kind in ("masks", "c23"):
        written = sorted(path.name for path in (base / kind / "videos/000_003").iterdir())
        assert written == names
    made = np.asarray(Image.open(base / "masks/videos/000_003" / names[0]))
    assert made.shape == (31, 31)
    assert set(np.unique(made)) == {0, 255}
    # The face lies at rows 12 to 36 and columns 10 to 34: a square of 31 begins at 9 and 7.
    np.testing.assert_array_equal(made > 0, mask[9:40, 7:38])


def test_masks_are_no_faces_without_being_asked_for(place) -> None:
    write_masked()
    shown = cut("--frames=2")
    assert shown.status == 0, shown.err
    assert "left out: 1 files in folders `masks`; --masks cuts them" in shown.out
    assert not any("masks" in row.image for row in read_index(Path("out/faces.csv")))


def test_two_compressions_beside_one_mask_are_refused(place) -> None:
    write_masked(("c23", "c40"))
    shown = cut("--masks")
    assert shown.status == 2
    assert "got manipulated_sequences/Swap/c23/videos/000_003.avi and " in shown.err
    assert "cut one compression at a time" in shown.err
    assert not Path("out").exists()


def test_masks_of_another_size_or_without_a_source(place) -> None:
    folder, _ = write_masked()
    write_video(folder / "masks/videos/000_003.avi", 6, size=(32, 32))
    write_video(folder / "masks/videos/009_008.avi", 6)
    shown = cut("--masks", "--frames=2")
    assert shown.status == 1
    assert "mask left out: expected the mask data/manipulated_sequences" in shown.err
    assert "to have the size (64, 96) (height, width)" in shown.err
    assert "1 masks without a photo or video beside them" in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output=data/crops"], "expected --output outside of data, got data/crops"),
        (["--frames=0"], "expected --frames in [1, inf], got 0"),
        (["--margin=0"], "expected --margin in [0.1, 10]"),
        (["--size=0"], "expected --size in [1, 8192]"),
        (["--config=gone.yaml"], "expected a configuration file at gone.yaml"),
    ],
)
def test_mistakes_get_one_sentence(place, words, message) -> None:
    shown = cut(*words)
    assert shown.status == 2
    assert message in shown.err
    assert not Path("out").exists()


def test_crops_are_not_mixed_with_older_ones(place) -> None:
    assert cut("--frames=1").status == 0
    shown = cut("--frames=2")
    assert shown.status == 2
    assert "expected a folder without faces.csv for --output, found one in out" in shown.err


def test_files_whose_crops_would_collide_are_refused(place) -> None:
    save(Path("data/fake/clip.png"), scene(False))
    shown = cut()
    assert shown.status == 2
    assert "got fake/clip.avi and fake/clip.png, whose crops go to the same folder" in shown.err


def test_crops_are_data_to_train_on(place) -> None:
    """What helper modules write is what the source of real and fake folders reads."""
    from clad.data.real_fake import RealFake

    cut("--frames=4")
    splits = RealFake(test_fraction=0.0, validation_fraction=0.0).list_samples(
        Path("out"), "all", seed=0
    )
    assert len((*splits.train, *splits.test)) == 7


def test_default_detector_is_the_cascade(place) -> None:
    shown = clad("faces", "data/real", "--output=other")
    assert shown.status == 0, shown.err
    assert "configs/faces/cascade.yaml" in shown.out
