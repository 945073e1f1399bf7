"""clad matrix: one training per kind of forgery, and the table that comes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from tiny_faces import KINDS, write_face_recipe, write_faces
from tiny_recipe import Shown, clad, write_part

from clad.reports.run_directory import read_run

pytestmark = pytest.mark.filterwarnings("ignore")
BASE = ("matrix", "--config=recipes/faces.yaml", "--data.root=faces")


@pytest.fixture(scope="module", autouse=True)
def _place(workplace: Path) -> None:
    write_faces(workplace / "faces")
    write_face_recipe(workplace)
    blobs = {"data": {"synthesis": {"class_path": "clad.synthesis.blobs.Blobs"}}}
    write_part(workplace, "blobs", blobs)


@pytest.fixture(scope="module")
def shown(_place: None) -> Shown:
    found = clad(*BASE, "--train=blobs.yaml", "--output=grid")
    assert found.status == 0, found.err
    return found


def stored() -> dict:
    return json.loads(Path("grid/matrix.json").read_text())


def test_each_row_learned_one_kind_and_was_tested_on_all(shown: Shown) -> None:
    rows = stored()["rows"]
    assert [row["trained_on"] for row in rows] == ["blend", "swap", "synthesis"]
    for row in rows:
        folder = Path("grid", row["folder"])
        kinds = [row["trained_on"]] if row["trained_on"] in KINDS else []
        assert yaml.safe_load((folder / "config.yaml").read_text())["data"]["train_kinds"] == kinds
        counts = json.loads((folder / "data.json").read_text())["counts"]
        assert counts["train"]["face"]["anomalous"] == 6 * len(kinds)
        assert counts["test"]["face"] == {"normal": 8, "anomalous": 8}


def test_cells_are_the_auroc_of_one_kind_against_the_real_images(shown: Shown) -> None:
    for row in stored()["rows"]:
        table = read_run(Path("grid", row["folder"])).predictions
        for kind in KINDS:
            kinds = np.array(table.defect_types)
            of_kind = (table.labels == 0) | (kinds == kind)
            expected = roc_auc_score(table.labels[of_kind], table.scores[of_kind])
            assert row["auroc"][kind] == pytest.approx(expected)


def test_table_and_pictures(shown: Shown) -> None:
    table = shown.out[shown.out.index("\ntrained on  ") :].splitlines()[1:]
    assert table[0].split() == ["trained", "on", "blend", "swap", "mean", "unseen"]
    assert re.match(r"blend +\[[\d.]+\] +[\d.]+ +[\d.]+$", table[2])
    assert re.match(r"synthesis +[\d.]+ +[\d.]+ +[\d.]+$", table[4])
    assert table[-1] == "results: grid"
    assert Path("grid/matrix.png").read_bytes().startswith(b"\x89PNG")
    assert 'class="seen"' in Path("grid/matrix.html").read_text()


def test_finished_rows_are_read_back(shown: Shown) -> None:
    before = stored()["rows"]
    again = clad(*BASE, "--train=blobs.yaml", "--output=grid")
    assert again.status == 0, again.err
    assert again.out.count("finished earlier") == 3
    assert stored()["rows"] == before
    assert "weights learn" not in again.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--methods=swap,morph",),
            r"that are in train \(blend, swap\).*got morph",
        ),
        (("--data.source.init_args.train_on_fakes=false",), r"in train \(none\) and in test"),
        (("--train=recipes/faces.yaml",), r"expected a generator of forgeries in recipes/faces"),
        (("--output=recipes",), r"found files in recipes, and no matrix\.json to go on with"),
        (("--ckpt_path=last",), r"expected no --ckpt_path, because every row starts afresh"),
        (("--train=gone.yaml",), r"expected a configuration file at gone\.yaml, found none"),
    ],
)
def test_mistakes_are_answered_before_anything_trains(words, message: str) -> None:
    found = clad(*BASE, *words)
    assert found.status == 2
    assert re.search(message, found.err), found.err
    assert "weights learn" not in found.out
