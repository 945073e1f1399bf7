"""clad robustness: a finished run on degraded test images, against the same images on disk."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_faces import write_face_recipe, write_faces
from tiny_recipe import Shown, clad

from clad.data.degrade import jpeg
from clad.data.images import decode_image
from clad.data.tiny import save
from clad.reports.run_directory import read_run

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = ("robustness", "faces_run")


@pytest.fixture(scope="module", autouse=True)
def _run(workplace: Path) -> None:
    write_faces(workplace / "faces")
    recipe = write_face_recipe(workplace)
    where = "--trainer.default_root_dir=faces_run"
    assert clad("fit", "--config", recipe, "--data.root=faces", where).status == 0
    assert clad("test", "--ckpt_path=faces_run", where).status == 0


@pytest.fixture(scope="module")
def shown(_run: None) -> Shown:
    before = Path("faces_run/config.yaml").read_text()
    found = clad(*WORDS, "--kinds=jpeg,resize")
    assert found.status == 0, found.err
    assert Path("faces_run/config.yaml").read_text() == before
    return found


def stored(folder: str = "faces_run") -> dict:
    return json.loads(Path(folder, "robustness.json").read_text())


def test_the_clean_row_is_what_clad_test_gives(shown: Shown) -> None:
    rows = stored()["rows"]
    assert rows[0]["name"] == "clean"
    expected = read_run(Path("faces_run")).evaluation.mean
    for name in ("image_auroc", "image_ap", "image_accuracy"):
        assert rows[0]["mean"][name] == pytest.approx(expected[name])
    names = [row["name"] for row in rows]
    assert names[1:4] == ["jpeg 95", "jpeg 90", "jpeg 75"]
    assert names[-1] == "resize 0.25"
    assert len(names) == 11


def test_a_degraded_row_is_a_test_of_degraded_files(shown: Shown) -> None:
    for path in Path("faces/test").rglob("*.png"):
        save(jpeg(decode_image(path), 30), Path("harder") / path.relative_to("faces"))
    shutil.copytree("faces/train", "harder/train")
    place = "--trainer.default_root_dir=harder_run"
    assert clad("test", "--ckpt_path=faces_run", "--data.root=harder", place).status == 0
    expected = read_run(Path("harder_run")).evaluation.mean
    (row,) = [row for row in stored()["rows"] if row["name"] == "jpeg 30"]
    for name in ("image_auroc", "image_ap", "image_accuracy"):
        assert row["mean"][name] == pytest.approx(expected[name])


def test_table_curve_and_facts_are_kept(shown: Shown) -> None:
    facts = stored()
    assert facts["applied_to"] == "the stored image, before it is resized to the model"
    assert (facts["num_normal"], facts["num_anomalous"]) == (8, 8)
    assert facts["threshold"].keys() == {"face"}
    assert Path("faces_run/robustness.png").read_bytes().startswith(b"\x89PNG")
    with Path("faces_run/robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[3]["image_auroc"]) == facts["rows"][3]["mean"]["image_auroc"]
    table = shown.out[shown.out.index("images ") :].splitlines()
    assert re.match(r"images +image_auroc +image_ap .*image_accuracy", table[0])
    assert [line.split("  ")[0] for line in table[2:5]] == ["clean", table[3], "jpeg 95"]
    assert "largest loss of image AUROC: " in shown.out


def test_a_limit_and_a_place_of_its_own() -> None:
    shown = clad(*WORDS, "--kinds", "noise", "--limit=8", "--seed=3", "--output=elsewhere")
    assert shown.status == 0, shown.err
    facts = stored("elsewhere")
    assert (facts["num_normal"], facts["num_anomalous"], facts["seed"]) == (4, 4, 3)
    again = clad(*WORDS, "--kinds", "noise", "--limit=8", "--seed=3", "--output=elsewhere")
    means = [row["mean"] for row in facts["rows"]]
    assert again.status == 0
    assert [row["mean"] for row in stored("elsewhere")["rows"]] == means


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("faces_run", "--kinds=fog"), r"kind of degradation to be one of .*; got 'fog'"),
        (("faces_run", "--limit=0"), r"expected a limit of at least 1 image, got 0"),
        (("faces_run", "--config=a.yaml"), r"expected no --config, because the run brings its own"),
        (("nowhere",), r"expected a run of `clad fit` at nowhere, .*found nothing"),
        (("faces_run", "--data.root=gone"), r"expected data\.root to be a folder, found nothing"),
        ((), r"the following arguments are required: RUN"),
    ],
)
def test_mistakes_are_answered(words: tuple[str, ...], message: str) -> None:
    found = clad("robustness", *words)
    assert found.status == 2
    assert re.search(message, found.err), found.err
