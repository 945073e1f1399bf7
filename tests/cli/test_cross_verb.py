"""clad cross: one training, several tests, and the table of them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_faces import write_face_recipe, write_faces
from tiny_recipe import Shown, clad

from clad.cli.cross import count_videos
from clad.cli.cross_sets import find_set
from clad.cli.data_config import build_data, read_data
from clad.reports.cross import CrossRow, means_of, to_text
from clad.reports.run_directory import read_run
from clad.samples import Origin, Sample

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[2]
BASE = ("cross", "--config=recipes/faces.yaml", "--train=home:real_fake=faces")
OTHERS = ("--test=left:real_fake=left", "--test=right:real_fake=right")
SHIPPED = ROOT / "configs" / "cross" / "faceforensics.yaml"


@pytest.fixture(scope="module", autouse=True)
def _place(workplace: Path) -> None:
    for seed, name in enumerate(("faces", "left", "right")):
        write_faces(workplace / name, num_test=4 + seed, seed=seed)
    write_face_recipe(workplace)


@pytest.fixture(scope="module")
def shown(_place: None) -> Shown:
    found = clad(*BASE, *OTHERS, "--output=table")
    assert found.status == 0, found.err
    return found


def test_rows_are_what_fit_and_test_give(shown: Shown) -> None:
    sets = json.loads(Path("table/cross.json").read_text())["sets"]
    assert [(each["name"], each["is_own"]) for each in sets] == [
        ("home", True), ("left", False), ("right", False),
    ]  # fmt: skip
    assert [(each["num_real"], each["num_fake"]) for each in sets] == [(8, 8), (10, 10), (12, 12)]
    alone = clad("test", "--ckpt_path=table/home", "--data.root=left",
                 "--trainer.default_root_dir=alone")  # fmt: skip
    assert alone.status == 0, alone.err
    expected = read_run(Path("alone")).evaluation.mean
    for name in ("image_auroc", "image_ap", "image_eer"):
        assert sets[1]["mean"][name] == pytest.approx(expected[name])


def test_the_table_and_its_mean(shown: Shown) -> None:
    stored = json.loads(Path("table/cross.json").read_text())
    others = [each["mean"]["image_auroc"] for each in stored["sets"][1:]]
    assert stored["mean_of_others"]["image_auroc"] == pytest.approx(sum(others) / 2)
    table = shown.out[shown.out.index("\ntested on  ") :].splitlines()[1:]
    assert table[0].split()[2:] == ["image_auroc", "image_ap", "image_eer"]
    assert table[2].startswith("home (own test split)")
    assert table[6].startswith("mean of others")
    assert "left: 10 real and 10 fake images" in shown.out
    with Path("table/cross.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["is_own"] for row in rows] == ["1", "0", "0"]


def test_what_is_finished_is_read_back_and_a_target_can_join(shown: Shown) -> None:
    write_faces(Path("third"), num_test=2, seed=9)
    again = clad(*BASE, *OTHERS, "--test=third:real_fake=third", "--output=table")
    assert again.status == 0, again.err
    assert again.out.count("finished earlier") == 3
    assert "weights learn" not in again.out
    assert len(json.loads(Path("table/cross.json").read_text())["sets"]) == 4


def test_a_file_of_the_training_is_refused_in_a_target(workplace: Path) -> None:
    shutil.copytree("left", "copied")
    shutil.copy("faces/train/real/000.png", "copied/test/real/zzz.png")
    found = clad(*BASE, "--test=copied:real_fake=copied")
    assert found.status == 2
    assert re.search("expected the training on home and copied to share no image, got 1", found.err)
    assert "weights learn" not in found.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--test=left",), r"expected --test \[NAME:\]LAYOUT=DIR, .*got 'left'"),
        (("--test=real_fake=gone",), r"folder of --test real_fake, found nothing at gone"),
        (
            ("--test=celeb=left",),
            r"one of .*real_fake.* or the path of a YAML, got 'celeb'; did yo",
        ),
        (
            ("--test=recipes/gone.yaml=left",),
            r"expected a configuration file at recipes/gone\.yaml",
        ),
        (("--test=home:real_fake=left",), r"expected sets of different names, got home, home"),
        (("--test=real_fake=left", "--ckpt_path=x"), r"expected no --ckpt_path, because every run"),
        (("--test=real_fake=left", "--protocol=recipes/faces.yaml"), r"`train:` and `test:` with"),
        ((), r"the following arguments are required: --test"),
    ],
)
def test_mistakes_are_answered(words: tuple[str, ...], message: str) -> None:
    found = clad(*BASE, *words)
    assert found.status == 2
    assert re.search(message, found.err), found.err


def test_shipped_protocol_names_how_sets_are_read() -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    for role, names in content.items():
        for name, source in names.items():
            found = find_set(f"{name}=faces", SHIPPED, role)
            assert (found.name, found.source, found.root) == (name, source, Path("faces"))
            data = build_data({"source": source}, "clad cross")
            assert data.source.name == name
            assert data.source.frames_per_video == 32
    plain = find_set("celeb_df=faces", None, "test")
    assert plain.source["class_path"] == content["test"]["celeb_df"]["class_path"]


def test_shipped_matrix_learns_and_tests_the_same_kinds() -> None:
    data = read_data([SHIPPED.with_name("faceforensics_matrix.yaml")], [], "clad matrix")
    assert data.source.train_methods == data.source.test_methods
    assert data.source.train_methods == ["Deepfakes", "FaceSwap", "FaceShifter"]


def test_videos_and_their_frames_are_counted() -> None:
    def of(video: str | None, frame: str) -> Sample:
        return Sample(Path(frame), 0, "face", origin=Origin(frame, video))

    samples = [of("a", "a0"), of("a", "a0"), of("a", "a1"), of("b", "b0"), of(None, "photo")]
    assert count_videos(samples) == {"videos": 2, "frames": 3}
    assert count_videos([Sample(Path("x"), 0, "face")]) == {}
    row = CrossRow("s", "s", False, {}, 3, 2, 2, 3)
    assert row.count == "3 real and 2 fake images, 2 videos, 1.5 frames per video"


def test_means_leave_out_what_was_learned_and_what_is_undefined() -> None:
    nan = float("nan")
    rows = [
        CrossRow("own", "own", True, {"image_auroc": 1.0, "image_ap": 1.0}, 1, 1),
        CrossRow("a", "a", False, {"image_auroc": 0.6, "video_eer": 0.3, "image_ap": nan}, 1, 1),
        CrossRow("b", "b", False, {"image_auroc": 0.7}, 1, 1),
    ]
    assert means_of(rows, ["image_auroc", "video_eer"]) == pytest.approx([0.65, 0.3])
    lines = to_text(rows).splitlines()
    assert lines[0].split()[2:] == [
        *(f"{level}_{name}" for level in ("image", "video") for name in ("auroc", "ap", "eer"))
    ]
    assert lines[-1].split()[-6:] == ["0.650", *["undefined"] * 4, "0.300"]
