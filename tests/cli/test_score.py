"""clad score on folders of textures, in this process, around the fake tower."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from detector_recipes import (
    write_textures,
)
from PIL import Image
from tiny_recipe import clad

from clad.cli.score_table import MOST_ROWS, table
from clad.explain.scored_image import ScoredImage
from clad.reports.overlay import overlay

pytestmark = pytest.mark.filterwarnings("ignore")


def read_scores(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "scores.csv").open() as file:
        return list(csv.DictReader(file))


def rows_of(out: str) -> list[list[str]]:
    """Cells of the table on the terminal, header first."""
    lines = out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("file"))
    end = next(n for n, line in enumerate(lines) if line.startswith("scores:")) - 1
    return [line.split() for line in lines[start:end]]


def test_a_folder_beside_many_good_parts_gets_verdicts(place) -> None:
    shown = clad("score", "parts", "--object", "metal nut", "--normal", "good", "--output", "out")
    assert shown.status == 0, shown.err
    assert "recipe: few_shot.yaml" in shown.out
    assert (
        "normal: 40 of 40 images in good, 21 to compare with, 19 held out for the threshold"
        in shown.out
    )
    assert "threshold: 19 normal validation images per category, at most 5.0% false" in shown.out
    header, *rows = rows_of(shown.out)
    assert header == [
        "file", "score", "verdict", "percentile", "alarms/1000", "top,left,bottom,right",
    ]  # fmt: skip
    values = [float(row[1]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert {row[0] for row in rows[:3]} == {f"b/{n:03d}.png" for n in range(3)}
    assert [row[2] for row in rows[:3]] == ["anomalous"] * 3
    for row in rows:
        assert (row[5] == "-") == (row[2] == "normal")
        # 19 good parts were held out: 5 % of false alarms is what the highest of them allows.
        assert (row[4] == "<50") == (row[3] == "100.0") == (row[2] == "anomalous")
    written = read_scores("out")
    assert [row["path"] for row in written] == [
        f"parts/{folder}/{n:03d}.png" for folder in "ab" for n in range(3)
    ]
    assert {row["category"] for row in written} == {"metal_nut"}
    for row in written:
        below = 19 * float(row["percentile"]) / 100
        assert below == pytest.approx(round(below))
        alarms = 1000 * (20 - below) / 20
        assert float(row["false_alarms_per_1000"]) == pytest.approx(alarms)
        assert "probability" not in row, "good parts alone do not give one"
    assert (
        "calibration: percentile among 19 normal validation images, false alarms no finer than 50 "
        "per 1,000; probability none: no anomalous validation images, and normal ones" in shown.out
    )
    called = sum(row["is_anomalous"] == "1" for row in written)
    assert f"6 images, {called} called anomalous" in shown.out
    pictures = sorted(p.relative_to("out/maps").as_posix() for p in Path("out").rglob("*.png"))
    assert pictures == [row["path"].removeprefix("parts/") for row in written]
    assert Image.open("out/maps/a/000.png").size == (64, 64), "in the shape of the image"


def test_few_good_parts_give_a_ranking_only(place) -> None:
    shown = clad("score", "parts", "--normal=good", "--k=4", "--output=out")
    assert shown.status == 0, shown.err
    assert "normal: 4 of 40 images in good, 4 to compare with\n" in shown.out
    assert "none: 4 normal images give a ranking and no verdict" in shown.out
    assert rows_of(shown.out)[0] == ["file", "score", "top,left,bottom,right"]
    assert "called anomalous" not in shown.out
    assert {row["is_anomalous"] for row in read_scores("out")} == {""}


def test_precision_rounds_scores_a_little(place) -> None:
    found = {}
    for precision in ("32", "bf16"):
        words = ("--normal=good", "--k=4", f"--precision={precision}", f"--output={precision}")
        assert clad("score", "parts", *words).status == 0
        found[precision] = [float(row["score"]) for row in read_scores(precision)]
    assert found["32"] != found["bf16"]
    assert found["bf16"] == pytest.approx(found["32"], rel=0.1)


def test_seed_decides_which_good_parts_are_drawn(place) -> None:
    scores = []
    for seed in (0, 0, 1):
        clad("score", "parts", "--normal=good", "--k=2", "--output=out", f"--seed={seed}")
        scores.append([row["score"] for row in read_scores("out")])
    assert scores[0] == scores[1] != scores[2]


def test_one_image_and_the_default_folder(place) -> None:
    shown = clad("score", "parts/b/001.png", "--normal=good", "--k=3")
    assert shown.status == 0, shown.err
    assert rows_of(shown.out)[1][0] == "001.png"
    (folder,) = Path("runs/score").iterdir()
    assert f"scores: {folder}/scores.csv" in shown.out
    assert "1 image\n" in shown.out


def test_pictures_of_a_call_share_one_scale(place) -> None:
    clad("score", "parts", "--normal=good", "--k=3", "--config=few_shot.yaml", "--output=out")
    image = np.asarray(Image.open("parts/a/000.png").convert("RGB"))
    quiet = np.asarray(Image.open("out/maps/a/000.png")).astype(int)
    coldest = overlay(image, np.zeros((64, 64))).astype(int)
    hottest = overlay(image, np.ones((64, 64))).astype(int)
    assert abs(quiet - coldest).mean() < abs(quiet - hottest).mean()


def test_an_unreadable_image_is_named_and_the_others_scored(place) -> None:
    Path("parts/a/001.png").write_bytes(b"")
    shown = clad("score", "parts", "--normal=good", "--k=3", "--output=out")
    assert shown.status == 1
    assert shown.err == (
        "unreadable: expected an image, got an empty file (0 bytes) at parts/a/001.png; "
        "copy it again\n"
    )
    assert shown.out.splitlines()[-1] == "1 image that could not be read"
    assert len(read_scores("out")) == 5


def test_an_unreadable_good_part_counts_too(place) -> None:
    Path("good/000.png").write_bytes(b"no image")
    shown = clad("score", "parts", "--normal=good", "--output=out")
    assert shown.status == 1
    assert "normal: 39 of 40 images in good" in shown.out
    assert len(read_scores("out")) == 6


def test_without_any_readable_image_nothing_is_written(place) -> None:
    Path("parts/a/001.png").write_bytes(b"")
    shown = clad("score", "parts/a/001.png", "--normal=good", "--k=3")
    assert shown.status == 2
    assert "at least one image that can be read, got 1 image that could not be read" in shown.err
    assert not any(Path("runs/score").iterdir())


def test_good_parts_are_not_compared_with_themselves(place) -> None:
    shown = clad("score", "good", "--normal=good", "--k=4", "--output=out")
    assert shown.status == 0, shown.err
    assert "left out: 4 of the images, which are normal ones to compare with" in shown.out
    assert len(read_scores("out")) == 36
    shown = clad("score", "good", "--normal=good")
    assert shown.status == 2
    assert "images to score beside the normal ones, got only those in good" in shown.err


def test_words_of_an_aligned_recipe(place) -> None:
    shown = clad(
        "score", "parts", "--config=words.yaml", "--object", "turbine blade", "--output=out"
    )
    assert shown.status == 0, shown.err
    header = shown.out.splitlines()[2].split("  ")
    assert header[-1].strip() == "words (similarity)"
    row = read_scores("out")[0]
    assert row["category"] == "turbine_blade"
    assert list(row)[9:] == [
        f"{name}_{n}" for n in (1, 2, 3) for name in ("defect", "text", "similarity", "margin")
    ]
    assert "turbine blade" in row["text_1"]
    assert float(row["similarity_1"]) >= float(row["similarity_2"]) >= float(row["similarity_3"])
    shown_words = [f"{row[f'defect_{n}']} {float(row[f'similarity_{n}']):.2f}" for n in (1, 2, 3)]
    assert ", ".join(shown_words) in shown.out


def test_a_trained_run_scores_by_its_own_threshold_and_words(place) -> None:
    fitted = clad(
        "fit", "--config=trained.yaml", "--data.root=layout", "--trainer.default_root_dir=run"
    )
    assert fitted.status == 2, "there is no such folder yet"
    write_textures(Path("layout/train/good"), 30)
    write_textures(Path("layout/test/good"), 2, seed=5)
    write_textures(Path("layout/test/dent"), 2, seed=6, defective=True)
    fitted = clad(
        "fit", "--config=trained.yaml", "--data.root=layout", "--trainer.default_root_dir=run"
    )
    assert fitted.status == 0, fitted.err
    shown = clad("score", "parts", "--model=run", "--output=out")
    assert shown.status == 0, shown.err
    assert shown.out.startswith("model: run\nthreshold: 18 normal validation images")
    predicted = clad("predict", "--ckpt_path=run", "--trainer.default_root_dir=run")
    assert "words: " in predicted.out
    assert list(read_scores("out")[0])[-1] == "margin_3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone", "--normal=good"], "an image or a folder of images, found nothing at gone"),
        (["parts"], "--normal DIR, --model RUN or --config FILE, got none: the image and text"),
        (["parts", "--normal=gone"], "--normal to be a folder of images, found nothing at gone"),
        (["parts", "--normal=good/000.png"], "found a file at good/000.png; name its folder"),
        (["parts", "--normal=empty"], "found no image in empty; images end in .png"),
        (["parts", "--k=2", "--config=words.yaml"], "expected --normal DIR beside --k"),
        (["parts", "--normal=good", "--k=0"], "expected --k to be at least 1, got 0"),
        (["parts", "--config=words.yaml", "--model=run"], "expected --model or --config, got both"),
        (["parts", "--config=gone.yaml"], "expected a configuration file at gone.yaml"),
        (["parts", "--model=gone"], "expected a run of `clad fit` at gone"),
        (["parts", "--config=few_shot.yaml"], "NormalMemory compares with them, got none; give"),
        (["parts", "--config=words.yaml"], "the name of the object, which the recipe's words are"),
        (["parts", "--config=unaligned.yaml", "--object=nut"], "of FakeTower, which were not"),
        (["parts", "--config=trained.yaml", "--object=nut"], "one that learns from patch_focal"),
        (["parts", "--config=few_shot.yaml", "--config=misspelt.yaml", "--normal=good"],
         "got 'hed'; did you mean head?"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_sentence(place, words, message) -> None:
    Path("empty").mkdir()
    Path("misspelt.yaml").write_text("model:\n  hed: 1\n")
    shown = clad("score", *words)
    assert shown.status == 2
    (line,) = shown.err.splitlines()
    assert message in line
    assert not list(Path().glob("runs/score/*")), "nothing is left behind"


def test_the_table_is_short_and_its_names_aligned() -> None:
    images = [ScoredImage(f"x/{n}.png", "nut", float(n), (4, 4)) for n in range(MOST_ROWS + 2)]
    lines = table(images, Path("x")).splitlines()
    assert lines[0].split() == ["file", "score"]
    assert lines[1].split() == [f"{MOST_ROWS + 1}.png", f"{MOST_ROWS + 1}"]
    assert lines[-1] == "... and 2 lower ones"
    assert {line.rindex(line.split()[1]) for line in lines[:-1]} == {lines[0].index("score")}


@pytest.mark.weights
@pytest.mark.slow
def test_the_offline_tower_finds_defects_beside_few_good_parts(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_textures(Path("good"), 4)
    write_textures(Path("parts/a"), 4, seed=8)
    write_textures(Path("parts/b"), 4, seed=9, defective=True)
    shown = clad("score", "parts", "--object", "metal nut", "--normal", "good", "--output", "out")
    assert shown.status == 0, shown.err
    assert "configs/recipes/few_shot.yaml" in shown.out
    rows = rows_of(shown.out)[1:]
    assert {row[0].partition("/")[0] for row in rows[:4]} == {"b"}
    shown = clad("score", "parts", "--object", "metal nut", "--output", "out")
    assert shown.status == 2
    assert "packaged tower were never trained together" in shown.err
