"""The detector: the same scores as the trainer's, references of its own, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from detector_recipes import (
    DESCRIPTIONS,
    FOCAL,
    MEMORY,
    PATCH_TEXT,
    PROJECTION,
    write_recipe,
    write_textures,
)
from PIL import Image

from clad.cli.main import main
from clad.data.mvtec_ad import MVTecAD
from clad.detector import Detector, NormalsSeen
from clad.prompts.words import class_words

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of two categories, trained with words, with what ``clad predict`` says of it."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(
        folder / "recipe.yaml", MEMORY, aligned=False,
        prompts=DESCRIPTIONS, adapter=PROJECTION, losses=[FOCAL],
    )  # fmt: skip
    MVTecAD().write_tiny(folder / "images")
    words = ["--config", str(recipe), f"--data.root={folder / 'images'}"]
    where = f"--trainer.default_root_dir={folder / 'run'}"
    assert main(["fit", *words, where]) == 0
    assert main(["predict", f"--ckpt_path={folder / 'run'}", where]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def predicted(run: Path) -> list[dict[str, str]]:
    with (run / "predictions" / "scores.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def few_shot(tmp_path) -> Detector:
    return Detector.from_config(write_recipe(tmp_path / "few_shot.yaml", MEMORY))


@pytest.fixture
def zero_shot(tmp_path) -> Path:
    return write_recipe(tmp_path / "zero_shot.yaml", PATCH_TEXT, prompts=DESCRIPTIONS)


# A trained run


@pytest.mark.parametrize("name", ["", "checkpoints/last.ckpt"])
def test_a_loaded_run_says_what_predict_says(run, predicted, name) -> None:
    detector = Detector.load(run / name)
    assert detector.categories == ("metal_nut", "tile")
    assert "normal validation images" in detector.threshold_source
    for category in detector.categories:
        rows = [row for row in predicted if row["category"] == category]
        found = detector.score([row["path"] for row in rows], category)
        assert [each.name for each in found] == [row["path"] for row in rows]
        scores = [each.score for each in found]
        np.testing.assert_allclose(scores, [float(row["score"]) for row in rows], rtol=1e-5)
        for each, row in zip(found, rows, strict=True):
            assert each.threshold == float(row["threshold"])
            assert each.is_anomalous == (each.score >= each.threshold)
            assert [w.text for w in each.words[:3]] == [row[f"text_{n}"] for n in (1, 2, 3)]
            written = float(row["similarity_1"])
            assert each.words[0].similarity == pytest.approx(written, abs=1e-4)


def test_files_arrays_and_pil_images_are_scored_alike(run, predicted) -> None:
    detector = Detector.load(run)
    path = Path(predicted[0]["path"])
    image = Image.open(path)
    forms = [str(path), path, np.asarray(image.convert("RGB")), image]
    found = detector.score(forms, "metal_nut")
    assert [each.name for each in found] == [str(path), str(path), "image 3", "image 4"]
    scores = [each.score for each in found]
    assert scores == pytest.approx([scores[0]] * 4, rel=1e-6)
    alone = detector.score([path], "metal_nut")[0]
    assert alone.score == pytest.approx(scores[0], rel=1e-5)


def test_objects_are_found_by_their_spoken_names(run, predicted) -> None:
    detector = Detector.load(run)
    path = predicted[0]["path"]
    first = detector.score([path], "metal_nut")[0]
    for name in ("metal nut", "Metal Nut", " metal  nut "):
        assert detector.score([path], name)[0].score == pytest.approx(first.score)
    with pytest.raises(ValueError, match="expected the name of an object, such as 'metal nut'"):
        detector.score([path], " ")


def test_objects_that_a_memory_does_not_know_are_refused(run, predicted) -> None:
    detector = Detector.load(run)
    path = predicted[0]["path"]
    with pytest.raises(ValueError, match="one of metal_nut, tile, got none; give it with --object"):
        detector.score([path])
    message = "that the head knows, one of metal_nut, tile, got 'screw'; show normal ones"
    with pytest.raises(ValueError, match=message):
        detector.score([path], "screw")


def test_a_trained_run_takes_references_of_a_new_object(run, predicted, tmp_path) -> None:
    detector = Detector.load(run)
    normal = write_textures(tmp_path / "good", 3)
    assert detector.observe_normal(normal, "turbine blade") == NormalsSeen(3, 0)
    assert detector.categories == ("turbine_blade",)
    (found,) = detector.score(normal[:1])
    assert found.category == "turbine_blade"
    assert found.threshold is None, "a threshold of another memory says nothing here"
    assert {w.defect_type for w in found.words} == set(class_words("turbine_blade").defects)
    # What was known of other objects is gone, and is not scored with an empty memory.
    with pytest.raises(ValueError, match="one of turbine_blade, got 'tile'"):
        detector.score([predicted[0]["path"]], "tile")


def test_what_is_missing_of_a_run_is_said(run, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a run .* found nothing"):
        Detector.load(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="found a folder without one"):
        Detector.load(tmp_path)
    alone = tmp_path / "last.ckpt"
    alone.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(FileNotFoundError, match="leave the checkpoint in its run directory"):
        Detector.load(alone)


# Few normal images


def test_nothing_is_scored_before_normal_images_were_seen(few_shot, tmp_path) -> None:
    (path,) = write_textures(tmp_path / "parts", 1)
    with pytest.raises(ValueError, match=r"NormalMemory compares with them, .* --normal DIR"):
        few_shot.score([path])
    with pytest.raises(ValueError, match="at least one normal image that can be read, got none"):
        few_shot.observe_normal([])


def test_few_normal_images_rank_without_a_verdict(few_shot, tmp_path) -> None:
    normal = write_textures(tmp_path / "good", 4, seed=1)
    defective = write_textures(tmp_path / "bad", 6, seed=2, defective=True)
    others = write_textures(tmp_path / "others", 6, seed=3)
    assert few_shot.observe_normal(normal) == NormalsSeen(4, 0)
    assert few_shot.threshold_source == (
        "none: 4 normal images give a ranking and no verdict; a threshold takes at least 20"
    )
    found = few_shot.score([*defective, *others])
    assert all(each.is_anomalous is None for each in found)
    assert min(each.score for each in found[:6]) > np.median([each.score for each in found[6:]])


def test_the_threshold_is_one_step_above_what_was_held_out(few_shot, tmp_path) -> None:
    normal = write_textures(tmp_path / "good", 40)
    assert few_shot.observe_normal(normal, seed=5) == NormalsSeen(21, 19)
    assert few_shot.threshold_source.startswith("19 normal validation images per category, at most")
    order = torch.randperm(40, generator=torch.Generator().manual_seed(5)).tolist()
    held_out = few_shot.score([normal[n] for n in order[:19]])
    largest = np.float32(max(each.score for each in held_out))
    assert held_out[0].threshold == float(np.nextafter(largest, np.float32(np.inf)))
    assert not any(each.is_anomalous for each in held_out)


def test_seed_decides_which_images_are_held_out(tmp_path) -> None:
    normal = write_textures(tmp_path / "good", 40)
    recipe = write_recipe(tmp_path / "few_shot.yaml", MEMORY)
    thresholds = []
    for seed in (0, 0, 1):
        detector = Detector.from_config(recipe)
        detector.observe_normal(normal, seed=seed)
        thresholds.append(detector.score(normal[:1])[0].threshold)
    assert thresholds[0] == thresholds[1] != thresholds[2]


def test_scales_need_enough_normal_images(tmp_path) -> None:
    fused = {"class_path": "clad.heads.fused.Fused", "init_args": {"heads": [MEMORY]}}
    detector = Detector.from_config(write_recipe(tmp_path / "fused.yaml", fused))
    normal = write_textures(tmp_path / "good", 20)
    with pytest.raises(ValueError, match="at least 20 normal images, because the scales of Fused"):
        detector.observe_normal(normal[:19])
    assert detector.observe_normal(normal) == NormalsSeen(10, 10)
    assert detector.score(normal[:1])[0].threshold is not None


# Words alone


def test_aligned_words_score_without_normal_images(zero_shot, tmp_path) -> None:
    detector = Detector.from_config(zero_shot, "metal nut")
    paths = write_textures(tmp_path / "parts", 2)
    found = detector.score(paths)
    assert [each.category for each in found] == ["metal_nut"] * 2
    assert {w.defect_type for w in found[0].words} == set(class_words("metal_nut").defects)
    assert detector.threshold_source.startswith("none: not fitted yet")
    other = detector.score(paths, "turbine blade")[0]
    assert any("turbine blade" in w.text for w in other.words)
    assert other.score != found[0].score


def test_normal_images_give_words_a_threshold(zero_shot, tmp_path) -> None:
    detector = Detector.from_config(zero_shot, "metal nut")
    normal = write_textures(tmp_path / "good", 19)
    assert detector.observe_normal(normal, "metal nut") == NormalsSeen(0, 19)
    assert not any(each.is_anomalous for each in detector.score(normal))


def test_words_of_another_space_are_refused(tmp_path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", PATCH_TEXT, aligned=False, prompts=DESCRIPTIONS)
    with pytest.raises(ValueError, match=r"FakeTower, which were not, .* mean nothing; .*--normal"):
        Detector.from_config(recipe, "metal nut")


def test_recipes_that_must_be_trained_are_refused(tmp_path) -> None:
    recipe = write_recipe(
        tmp_path / "r.yaml", PATCH_TEXT, aligned=False,
        prompts=DESCRIPTIONS, adapter=PROJECTION, losses=[FOCAL],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"learns from patch_focal; train .* --model RUN"):
        Detector.from_config(recipe, "metal nut")


def test_words_need_the_name_of_the_object(zero_shot) -> None:
    with pytest.raises(ValueError, match=r"name of the object, .* got none; give it with --object"):
        Detector.from_config(zero_shot)
