from __future__ import annotations

import pytest
import torch
from detector_recipes import MEMORY, PATCH_TEXT, write_recipe, write_textures

from clad.cli.config_files import find_recipe
from clad.detector import Detector

LARGEST_SHARE = 0.03
"""Of the range of scores: what bfloat16 may change (docs/speed.md)."""
LARGEST_PROBABILITY = 0.02


@pytest.fixture
def images(tmp_path):
    return [
        *write_textures(tmp_path / "good", 4, seed=1),
        *write_textures(tmp_path / "bad", 4, seed=2, defective=True),
    ]


def memory_scores(tmp_path, images, precision):
    recipe = write_recipe(tmp_path / "memory.yaml", MEMORY, aligned=False)
    detector = Detector.from_config(recipe, device="cpu", precision=precision)
    detector.observe_normal(write_textures(tmp_path / "normal", 6))
    dtypes = set()
    detector.task.tower.convolutions[0].register_forward_hook(
        lambda module, args, output: dtypes.add(output.dtype)
    )
    return detector.score(images), dtypes


def test_bf16_changes_scores_by_rounding_alone(tmp_path, images):
    exact, dtypes = memory_scores(tmp_path, images, "32")
    assert dtypes == {torch.float32}
    rounded, dtypes = memory_scores(tmp_path, images, "bf16")
    assert dtypes == {torch.bfloat16}
    scores = [each.score for each in exact]
    allowed = LARGEST_SHARE * (max(scores) - min(scores))
    differences = [abs(a.score - b.score) for a, b in zip(exact, rounded, strict=True)]
    assert 0 < max(differences) < allowed
    assert all(each.model_map.dtype == "float32" for each in rounded)


def test_bf16_changes_probabilities_of_words_by_rounding_alone(tmp_path, images):
    found = {}
    for precision in ("32", "bf16"):
        recipe = write_recipe(
            tmp_path / "words.yaml",
            PATCH_TEXT,
            prompts={"class_path": "clad.prompts.single_pair.SinglePair"},
        )
        detector = Detector.from_config(recipe, "nut", device="cpu", precision=precision)
        found[precision] = detector.score(images)
    for exact, rounded in zip(*found.values(), strict=True):
        assert abs(exact.score - rounded.score) < LARGEST_PROBABILITY
        assert abs(exact.model_map - rounded.model_map).max() < LARGEST_PROBABILITY


@pytest.mark.parametrize("is_fast", [True, False])
def test_auto_follows_the_hardware(monkeypatch, tmp_path, images, is_fast):
    monkeypatch.setattr("clad.precision.has_fast_bf16", lambda device: is_fast)
    _, dtypes = memory_scores(tmp_path, images[:1], "auto")
    assert dtypes == {torch.bfloat16 if is_fast else torch.float32}


def test_an_unknown_precision_is_refused(tmp_path):
    recipe = write_recipe(tmp_path / "memory.yaml", MEMORY, aligned=False)
    with pytest.raises(ValueError, match="one of 32, auto, bf16; got 'half'"):
        Detector.from_config(recipe, device="cpu", precision="half")


def test_words_are_encoded_once_for_all_calls(monkeypatch, tmp_path, images):
    recipe = write_recipe(
        tmp_path / "words.yaml",
        PATCH_TEXT,
        prompts={"class_path": "clad.prompts.single_pair.SinglePair"},
    )
    detector = Detector.from_config(recipe, "nut", device="cpu")
    calls = []
    encode = detector.task.tower.encode_text
    monkeypatch.setattr(
        detector.task.tower, "encode_text", lambda texts: calls.append(texts) or encode(texts)
    )
    first, second = detector.score(images), detector.score(images)
    assert len(calls) == 1
    assert [each.score for each in first] == [each.score for each in second]


@pytest.mark.weights
@pytest.mark.slow
def test_bf16_of_the_packaged_tower_keeps_good_and_bad_apart(tmp_path):
    found = {}
    good = write_textures(tmp_path / "good", 8, seed=1)
    bad = write_textures(tmp_path / "bad", 8, seed=2, defective=True)
    for precision in ("32", "bf16"):
        detector = Detector.from_config(
            find_recipe("few_shot.yaml"), device="cpu", precision=precision
        )
        detector.observe_normal(write_textures(tmp_path / "normal", 8))
        found[precision] = [each.score for each in detector.score([*good, *bad])]
    exact, rounded = found["32"], found["bf16"]
    assert max(exact[:8]) < min(exact[8:])
    assert max(rounded[:8]) < min(rounded[8:])
    allowed = LARGEST_SHARE * (max(exact) - min(exact))
    assert max(abs(a - b) for a, b in zip(exact, rounded, strict=True)) < allowed
