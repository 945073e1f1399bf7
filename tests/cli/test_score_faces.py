"""clad score PATH --head deepfake, around the fake tower and a fake detector of faces."""

from __future__ import annotations

import contextlib
import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from marked_faces import save, scene, write_crops, write_detector, write_face_recipe
from PIL import Image
from tiny_recipe import clad

sys.path.insert(0, str(Path(__file__).parents[1] / "faces"))
from tiny_videos import cut_short, write_video

pytestmark = pytest.mark.filterwarnings("ignore")
RUN = Path("runs/forensic/one")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with a run trained on real faces, and files to score."""
    folder = tmp_path_factory.mktemp("faces")
    with contextlib.chdir(folder):
        write_detector(Path("marked.yaml"))
        write_crops(Path("crops"))
        recipe = write_face_recipe(Path("forensic.yaml"))
        shown = clad(
            "fit", "--config", recipe, "--data.root=crops", f"--trainer.default_root_dir={RUN}"
        )
        assert shown.status == 0, shown.err
        save(Path("photos/real.png"), scene(False, seed=3))
        save(Path("photos/fake.png"), scene(False, True, seed=91))
        save(Path("photos/nobody.png"), scene(False, seed=92))
        save(Path("dot.png"), np.full((1, 1, 3), 90, np.uint8))
        Path("empty.jpg").touch()
        Path("bare").mkdir()
        frames = [scene(False, number > 5, seed=number) for number in range(10)]
        write_video(Path("clips/clip.avi"), frames)
        write_video(Path("clips/nobody.avi"), frames)
        cut_short(write_video(Path("clips/short.avi"), frames), 0.7)
        yield folder


def score(*words: str | Path, out: str = "out"):
    shutil.rmtree(out, ignore_errors=True)
    return clad("score", *words, "--head", "deepfake", "--faces=marked.yaml", f"--output={out}")


def table(name: str, out: str = "out") -> list[dict[str, str]]:
    with (Path(out) / name).open() as file:
        return list(csv.DictReader(file))


def test_photos_get_verdicts_faces_and_pictures(place) -> None:
    shown = score("photos")
    assert shown.status == 0, shown.err
    assert f"model: {RUN}\nfaces: marked.yaml\nthreshold: 9 normal validation" in shown.out
    rows = {Path(row["path"]).stem: row for row in table("scores.csv")}
    faces = table("face_scores.csv")
    assert [rows[name]["is_fake"] for name in ("real", "fake")] == ["0", "1"]
    assert {rows[name]["status"] for name in ("real", "fake")} == {"ok"}
    assert "real.png: real, score" in shown.out
    assert "calibration: percentile among 9 normal validation images" in shown.out
    assert float(rows["fake"]["percentile"]) == 100
    assert float(rows["fake"]["false_alarms_per_1000"]) == 100
    assert rows["fake"]["probability"] == ""
    assert "above 100.0 % of normal images, <100 false alarms/1000" in shown.out
    assert "fake.png: fake, score" in shown.out
    assert "3 of 3 files scored, " in shown.out
    large, small = (row for row in faces if row["path"].endswith("fake.png"))
    assert (large["top"], large["left"]) == ("20.00", "54.00")
    assert float(large["score"]) > float(small["score"]), "the bar is in the larger face"
    assert float(rows["fake"]["score"]) == max(float(large["score"]), float(small["score"]))
    assert f"face at 20,54,48,82: score {float(large['score']):.4g}, confidence 0.90" in shown.out
    assert Image.open("out/maps/fake.png").size == (96, 64), "the whole photo"
    assert sorted(p.name for p in Path("out/maps").iterdir()) == [
        "fake.png", "nobody.png", "real.png",
    ]  # fmt: skip


def test_one_forged_face_makes_a_forged_photo_even_a_small_one(place) -> None:
    score(save(Path("small.png"), scene(True, False, seed=91)))
    large, small = (float(row["score"]) for row in table("face_scores.csv"))
    assert small > large
    assert float(table("scores.csv")[0]["score"]) == small


def test_picture_is_warm_where_the_forgery_is(place) -> None:
    score("photos/fake.png")
    picture = np.asarray(Image.open("out/maps/fake.png")).astype(int)
    warmth = picture[..., 0] - picture[..., 2]
    assert warmth[38:46, 58:78].mean() > warmth[16:33, 13:32].mean() + 20
    assert (np.ptp(picture[56:, :8], axis=2) == 0).all(), "grey where no face was scored"


def test_photo_without_a_face_is_scored_as_a_whole(place) -> None:
    shown = score("photos/nobody.png")
    assert shown.status == 0, shown.err
    assert "no_face: no face was found; the whole image was scored" in shown.out
    assert "whole image: score" in shown.out
    (row,), (face,) = table("scores.csv"), table("face_scores.csv")
    assert (row["status"], row["frames_with_face"]) == ("no_face", "0")
    assert (face["has_face"], face["top"]) == ("0", "")


def test_image_of_one_pixel(place) -> None:
    shown = score("dot.png")
    assert shown.status == 0, shown.err
    assert table("scores.csv")[0]["status"] == "no_face"
    assert Image.open("out/maps/dot.png").size == (1, 1)


def test_empty_file_is_said_and_fails(place) -> None:
    shown = score("empty.jpg")
    assert shown.status == 1
    assert "empty.jpg: unreadable\n  unreadable: expected an image, got an empty file" in shown.out
    assert "0 of 1 files scored" in shown.out
    assert table("scores.csv")[0]["score"] == ""
    assert not Path("out/maps").exists()


def test_video_is_the_mean_of_its_frames(place) -> None:
    shown = score("clips/clip.avi", "--frames=5")
    assert shown.status == 0, shown.err
    (row,) = table("scores.csv")
    assert (row["kind"], row["status"], row["frames"]) == ("video", "ok", "5")
    faces = table("face_scores.csv")
    frames = {int(face["frame"]): float(face["frame_score"]) for face in faces}
    assert sorted(frames) == [0, 2, 4, 7, 9]
    for number, of_frame in frames.items():
        assert of_frame == max(float(f["score"]) for f in faces if f["frame"] == str(number))
    assert float(row["score"]) == pytest.approx(np.mean(list(frames.values())))
    assert min(frames[7], frames[9]) > max(frames[0], frames[2], frames[4]), "forged from frame 6"
    assert "mean of 5 frames, faces in 5 of 5" in shown.out
    assert "a threshold that was fitted on single images" in shown.out
    assert Image.open("out/maps/clip.avi.png").size == (3 * 96 + 2 * 6, 2 * 64 + 6)


@pytest.mark.parametrize(
    ("words", "share"), [(["--video-score=max"], 1), (["--video-score=top", "--top=2"], 2)]
)
def test_other_scores_of_a_video(place, words, share) -> None:
    shown = score("clips/clip.avi", "--frames=5", *words)
    frames = {row["frame"]: float(row["frame_score"]) for row in table("face_scores.csv")}
    expected = np.mean(sorted(frames.values())[-share:])
    assert float(table("scores.csv")[0]["score"]) == pytest.approx(expected)
    assert ("max of 5" if share == 1 else "top 2 of 5") in shown.out


def test_truncated_video_is_used_and_said(place) -> None:
    shown = score("clips/short.avi", "--frames=3")
    assert shown.status == 0, shown.err
    (row,) = table("scores.csv")
    assert (row["status"], row["frames"]) == ("truncated", "3")
    assert "of 10 frames decode; they were used" in row["note"]
    assert f"truncated: {row['note']}" in shown.out


def test_video_without_a_face(place) -> None:
    shown = score("clips/nobody.avi", "--frames=3")
    assert shown.status == 0, shown.err
    assert "no_face: no face was found; whole frames were scored" in shown.out
    assert "faces in 0 of 3" in shown.out


def test_folder_of_both_goes_on_after_unreadable_ones(place) -> None:
    Path("mixed").mkdir(exist_ok=True)
    for name in ("photos/real.png", "empty.jpg", "clips/clip.avi"):
        shutil.copy(name, Path("mixed") / Path(name).name)
    Path("mixed/cut.mp4").write_bytes(b"no video at all")
    shown = score("mixed", "--frames=2")
    assert shown.status == 0, shown.err
    assert [row["status"] for row in table("scores.csv")] == [
        "ok",
        "unreadable",
        "unreadable",
        "ok",
    ]
    assert "cut.mp4: unreadable" in shown.out
    assert "2 of 4 files scored" in shown.out


def test_default_folder_is_a_run(place) -> None:
    shown = clad("score", "photos/real.png", "--head=deepfake", "--faces=marked.yaml")
    assert shown.status == 0, shown.err
    (folder,) = Path("runs/score").iterdir()
    assert f"scores: {folder}/scores.csv" in shown.out


def test_without_a_run_one_sentence_says_how_to_train(place, tmp_path, monkeypatch) -> None:
    photo = Path("photos/real.png").absolute()
    detector = Path("marked.yaml").absolute()
    monkeypatch.chdir(tmp_path)
    shown = clad("score", photo, "--head=deepfake", f"--faces={detector}")
    assert shown.status == 2
    assert shown.err.count("\n") == 1
    assert (
        "expected a finished run on faces below runs/, found none; train one with `clad fit "
        "--config configs/recipes/deepfake.yaml --data.root DIR`"
    ) in shown.err
    assert not (tmp_path / "runs").exists()


def test_runs_on_parts_and_unfinished_ones_are_passed_over(place, tmp_path) -> None:
    from clad.cli.face_runs import newest_face_run

    for name in ("parts", "unfinished", "old"):
        shutil.copytree(RUN, tmp_path / "runs" / name / "one")
    parts = tmp_path / "runs/parts/one/config.yaml"
    parts.write_text(parts.read_text().replace("real_fake.RealFake", "folder.Folder"))
    (tmp_path / "runs/unfinished/one/run.json").unlink()
    assert newest_face_run(tmp_path / "runs") == tmp_path / "runs/old/one"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.jpg"], "expected a photo, a video or a folder of them, found nothing at gone.jpg"),
        (["bare"], "expected photos or videos in bare, found none"),
        (["photos", "--faces=gone.yaml"], "expected a configuration file at gone.yaml"),
        (["photos", "--faces=forensic.yaml"], "expected the one key `detector:` in forensic.yaml"),
        (["photos", "--frames=0"], "expected num_frames in [1, inf], got 0"),
        (["photos", "--model=nowhere"], "expected a run of `clad fit` at nowhere"),
        (["photos", "--head=ghosts"], "invalid choice: 'ghosts'"),
    ],
)
def test_mistakes_get_one_sentence(place, words, message) -> None:
    words = ["--head=deepfake", "--faces=marked.yaml", "--output=none", *words]
    shown = clad("score", *words)
    assert shown.status == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not Path("none").exists()


def test_help_names_both_ways(place) -> None:
    assert "--head deepfake" in clad("score", "--help").out
    assert "--video-score" in clad("score", "--head", "deepfake", "--help").out


def test_colour_scale_of_few_faces() -> None:
    from clad.cli.face_pictures import face_scale

    maps = np.zeros((3, 4, 4), np.float32)
    maps[:, 1, 1] = (2, 4, 8)
    scores, unknown = np.array([1.0, 2, 3]), np.full(3, np.nan)
    for limit, middle in ((2.5, 6), (1.5, 3), (9, 8), (0.5, 1)):
        low, high = face_scale(maps, scores, np.full(3, limit))
        assert (low + high) / 2 == pytest.approx(middle)
        assert low <= 0
        assert high >= np.percentile(maps, 99.9)
    low, high = face_scale(maps, scores, unknown)
    assert (low, high) == pytest.approx(np.percentile(maps, (1, 99.9)))
    low, high = face_scale(np.ones((1, 4, 4), np.float32), scores[:1], np.zeros(1))
    assert low < 1 < high
