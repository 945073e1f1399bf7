"""Another threshold than the trained one: clad score, test and predict, without training again."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from detector_recipes import MEMORY, PATCH_TEXT, write_recipe, write_textures
from tiny_recipe import clad

from clad.detector import Detector
from clad.tasks.calibration import Thresholds

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """The current folder: a run of a memory of good parts, and parts to score."""
    folder = tmp_path_factory.mktemp("thresholds")
    with contextlib.chdir(folder):
        recipe = write_recipe(Path("few_shot.yaml"), MEMORY)
        write_recipe(Path("words.yaml"), PATCH_TEXT, prompts={
            "class_path": "clad.prompts.single_pair.SinglePair"})  # fmt: skip
        write_textures(Path("layout/train/good"), 40)
        write_textures(Path("layout/test/good"), 3, seed=5)
        write_textures(Path("layout/test/dent"), 3, seed=6, defective=True)
        shown = clad(
            "fit", f"--config={recipe}", "--data.root=layout", "--trainer.default_root_dir=run"
        )
        assert shown.status == 0, shown.err
        yield folder


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def kept() -> Thresholds:
    return Detector.load("run").task.thresholds_fitted


def test_a_given_threshold_judges_and_the_percentiles_stay(place) -> None:
    plain = clad("score", "layout/test", "--model=run", "--output=plain")
    given = clad("score", "layout/test", "--model=run", "--output=given", "--threshold=0.5")
    assert given.status == plain.status == 0, given.err + plain.err
    assert "threshold: given: 0.5 for every category" in given.out
    assert "calibration: percentile among 24 normal validation images" in given.out
    for before, after in zip(rows_of("plain/scores.csv"), rows_of("given/scores.csv"), strict=True):
        assert after["threshold"] == "0.5"
        assert after["is_anomalous"] == str(int(float(after["score"]) >= 0.5))
        for name in ("score", "percentile", "false_alarms_per_1000"):
            assert before[name] == after[name]


def test_another_share_of_false_alarms_is_fitted_on_what_the_run_keeps(place) -> None:
    shown = clad("score", "layout/test", "--model=run", "--output=out", "--false-alarms=0.2")
    assert shown.status == 0, shown.err
    assert "threshold: fitted anew on the stored scores: 24 normal validation images" in shown.out
    assert "at most 20.0% false alarms" in shown.out
    fitted = kept()
    (calibration,) = fitted.calibrations.values()
    limit = calibration.normals.threshold(0.2)
    assert limit < next(iter(fitted.values.values()))
    for row in rows_of("out/scores.csv"):
        assert float(row["threshold"]) == limit
        assert (row["is_anomalous"] == "1") == (float(row["false_alarms_per_1000"]) <= 200)


def test_good_parts_set_the_threshold_for_the_share_that_is_asked_for(place) -> None:
    words = ("score", "layout/test", "--config=few_shot.yaml", "--normal=layout/train/good")
    shown = clad(*words, "--output=out", "--false-alarms=0.3")
    assert shown.status == 0, shown.err
    assert "per category, at most 30.0% false alarms" in shown.out
    few = clad(*words, "--output=out", "--k=3", "--threshold=2.5")
    assert "threshold: given: 2.5 for every category" in few.out
    assert {row["threshold"] for row in rows_of("out/scores.csv")} == {"2.5"}
    assert "calibration: none: no scores of normal validation images are kept" in few.out


def test_words_alone_judge_by_a_given_threshold(place) -> None:
    shown = clad(
        "score", "layout/test", "--config=words.yaml", "--object=nut", "--threshold=0.5",
        "--output=out",
    )  # fmt: skip
    assert shown.status == 0, shown.err
    assert {row["threshold"] for row in rows_of("out/scores.csv")} == {"0.5"}


def test_a_run_is_tested_and_asked_again_with_other_thresholds(place) -> None:
    again = ("--config=run/config.yaml", "--ckpt_path=run")
    tested = clad("test", *again, "--trainer.default_root_dir=a", "--model.false_alarm_budget=0.2")
    assert tested.status == 0, tested.err
    assert "threshold: fitted anew on the stored scores: 24 normal" in tested.out
    assert "oracle: F1-max is at the best threshold on these very images" in tested.out
    card = json.loads(Path("a/run.json").read_text())
    limit = next(iter(kept().calibrations.values())).normals.threshold(0.2)
    assert list(card["threshold"].values()) == [limit]
    assert card["calibration_source"].startswith("percentile among 24 normal validation images")
    given = ("--model.metrics.threshold_rule=given", "--model.metrics.threshold=0.7")
    predicted = clad("predict", *again, "--trainer.default_root_dir=b", *given)
    assert predicted.status == 0, predicted.err
    assert "threshold: given: 0.7 for every category" in predicted.out
    rows = rows_of("b/predictions/scores.csv")
    assert {row["threshold"] for row in rows} == {"0.7"}
    assert all(0 <= float(row["percentile"]) <= 100 for row in rows)
    refused = clad("test", *again, "--model.metrics.threshold_rule=f1")
    assert refused.status == 2
    assert "the labelled scores that it takes are not kept" in refused.err


def test_an_older_run_scores_and_cannot_be_fitted_anew(place) -> None:
    detector = Detector.load("run")
    old = detector.task.thresholds_fitted
    detector.task.thresholds_fitted = Thresholds(old.values, old.source)
    (scored,) = detector.score(["layout/test/good/000.png"])
    assert (scored.threshold, scored.percentile) == (*old.values.values(), None)
    assert detector.calibration_source.startswith("none: no scores")
    with pytest.raises(ValueError, match="train again with this version, or show normal images"):
        detector.set_threshold(false_alarm_budget=0.01)
    with pytest.raises(ValueError, match="expected false_alarm_budget in"):
        detector.set_threshold(false_alarm_budget=1.5)


@pytest.mark.slow
def test_labelled_validation_gives_probabilities_everywhere(place) -> None:
    for role, seed in (("validation", 11), ("test", 12)):
        write_textures(Path(f"labelled/{role}/good"), 24, seed=seed)
        write_textures(Path(f"labelled/{role}/dent"), 24, seed=seed + 10, defective=True)
    write_textures(Path("labelled/train/good"), 20)
    again = ("--config=few_shot.yaml", "--data.root=labelled", "--trainer.default_root_dir=both")
    fitted = clad("fit", *again)
    assert fitted.status == 0, fitted.err
    tested = clad("test", *again, "--ckpt_path=both")
    assert "calibration: percentile among 24 normal validation images" in tested.out
    assert "right only where 50.0% of the images are anomalous" in tested.out
    assert "probability: mean Brier score 0." in tested.out
    mean = json.loads(Path("both/metrics.json").read_text())["test"]["mean"]
    assert 0 < mean["image_brier"] < 0.25
    shown = clad("score", "labelled/test", "--model=both", "--output=out")
    values = [float(row["probability"]) for row in rows_of("out/scores.csv")]
    assert 0 < min(values) < 0.5 < max(values) < 1
    assert shown.out.count("probability") == 2
    rare = clad("test", *again, "--ckpt_path=both", "--model.metrics.prevalence=0.01")
    assert "re-weighted from 50.0% to 0.01 anomalous" in rare.out
    assert clad("report", "both").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model=run", "--threshold=1", "--false-alarms=0.1"], "not allowed with argument"),
        (["--model=run", "--threshold=nan"], "expected a finite score, got 'nan'"),
        (["--model=run", "--threshold=high"], "expected a number, got 'high'"),
        (["--model=run", "--false-alarms=1"], "expected a share between 0 and 1, such as 0.01"),
        (["--config=words.yaml", "--object=nut", "--false-alarms=0.1"],
         "expected --normal DIR or --model RUN beside --false-alarms, got neither"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_sentence(place, words, message) -> None:
    shown = clad("score", "layout/test", *words)
    assert shown.status == 2
    assert message in shown.err
