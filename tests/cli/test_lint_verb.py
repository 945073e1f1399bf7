"""clad lint: warnings, exit status, and that copies made with --reencode pass."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_faces import write_faces
from tiny_recipe import clad

from clad.data.tiny import normal_texture

CLEAN = "nothing found that gives labels away or that roles share"


@pytest.fixture(scope="module", autouse=True)
def _place(workplace: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, quality in (("real", 95), ("fake", 75)):
        for split, count in (("train", 24), ("test", 12)):
            for n in range(count):
                path = workplace / "biased" / split / kind / f"{n:03d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(normal_texture(rng)).save(path, quality=quality)


def row(out: str, fact: str) -> float:
    return float(re.search(rf"^{fact} +([\d.]+)", out, re.MULTILINE)[1])


def test_a_bias_is_told_and_copies_of_one_encoding_have_none(workplace: Path) -> None:
    shown = clad("lint", "biased")
    assert shown.status == 0, shown.err
    assert row(shown.out, "jpeg quality") == 1
    assert row(shown.out, "width") == 0.5
    (warning,) = re.findall(r"^warning: .*", shown.out, re.MULTILINE)
    start = r"warning: labels are told from files alone with AUROC 1\.000 \(.*, by .*jpeg quality"
    assert re.match(start, warning)
    assert warning.endswith("encode both classes alike, clad lint biased --reencode DIR")
    assert clad("lint", "biased", "--strict").status == 1

    made = clad("lint", "biased", "--reencode=alike", "--as=jpeg", "--data.image_size=64")
    assert "72 images written to alike, 64 x 64, jpeg" in made.out
    again = clad("lint", "alike")
    assert row(again.out, "jpeg quality") == 0.5
    assert row(again.out, "all but bytes") == 0.5


def test_files_alike_pass(workplace: Path) -> None:
    rng = np.random.default_rng(7)
    for n in range(160):
        kind = ("real", "fake")[n % 2]
        path = workplace / "clean" / ("train", "test")[n < 60] / kind / f"{n:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)
    shown = clad("lint", "clean", "--strict")
    assert shown.status == 0, shown.out
    assert shown.out.splitlines()[-1] == CLEAN
    assert "files whose video or person is not known: 160" in shown.out


def test_copies_across_roles_and_labels_are_told(workplace: Path) -> None:
    root = write_faces(workplace / "copied", num_train=3, num_test=3)
    shutil.copy(root / "train/real/000.png", root / "test/real/zzz.png")
    shutil.copy(root / "train/real/001.png", root / "train/fake/swap/zzz.png")
    (root / "train/real/broken.png").write_text("no picture")
    shown = clad("lint", "copied", "--strict")
    assert shown.status == 1
    for sentence in (
        r"labels are told .* by bytes.*; lengths alone tell, which what is shown can change, too",
        r"equal files of both labels: 1, such as .*zzz\.png and .*001\.png; remove",
        r"equal files in two roles: 1, such as .*000\.png and .*zzz\.png; remove",
        r"files that cannot be read: 1, such as .*broken\.png",
    ):
        assert re.search(f"^warning: {sentence}", shown.out, re.MULTILINE), shown.out


def test_one_class_is_undefined(workplace: Path) -> None:
    for n in range(4):
        path = workplace / "only" / "real" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (n, n, n)).save(path)
    shown = clad("lint", "only", "--strict")
    assert shown.status == 0, shown.out + shown.err
    assert "undefined: no fake image" in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gone",), r"expected data\.root to be a folder, found nothing"),
        (("biased", "--model.head=x"), r"expected options --data\.\* beside ROOT, got '--model"),
        (("biased", "--config=gone.yaml"), r"expected a configuration file at gone\.yaml"),
        (("biased", "--data.sauce=1"), r"got '--data\.sauce'; did you mean --data\.source"),
        ((), r"the following arguments are required: ROOT"),
    ],
)
def test_mistakes_are_answered(words: tuple[str, ...], message: str) -> None:
    found = clad("lint", *words)
    assert found.status == 2
    assert re.search(message, found.err), found.err
