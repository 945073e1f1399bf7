"""What the detector takes for an image, and where in it the map and its regions lie."""

from __future__ import annotations

import numpy as np
import pytest
from detector_recipes import DESCRIPTIONS, MEMORY, write_recipe, write_textures

from clad.detector import Detector, NormalsSeen


@pytest.fixture
def few_shot(tmp_path) -> Detector:
    return Detector.from_config(write_recipe(tmp_path / "few_shot.yaml", MEMORY))


def test_maps_and_regions_are_in_pixels_of_the_image(few_shot, tmp_path) -> None:
    few_shot.observe_normal(write_textures(tmp_path / "good", 3))
    (path,) = write_textures(tmp_path / "bad", 1, defective=True, size=(48, 64))
    (found,) = few_shot.score([path])
    assert found.image_size == (48, 64)
    assert found.model_map.shape == (32, 32)
    assert found.map.shape == (48, 64)
    np.testing.assert_allclose(found.map.max(), found.model_map.max(), rtol=0.05)
    row, column = np.unravel_index(found.model_map.argmax(), (32, 32))
    top, left, bottom, right = found.regions[0].box
    assert top <= row * 1.5 < bottom
    assert left <= column * 2 < right
    assert found.regions[0].score == pytest.approx(found.model_map.max())
    assert all(r.box[2] <= 48 and r.box[3] <= 64 for r in found.regions)
    assert found.without_map().map is None


def test_an_image_size_comes_from_the_recipe_or_the_tower(few_shot, tmp_path) -> None:
    assert few_shot.image_size == (32, 32)
    recipe = tmp_path / "few_shot.yaml"
    wide = tmp_path / "wide.yaml"
    wide.write_text("data:\n  image_size: [32, 48]\n")
    assert Detector.from_config([recipe, wide]).image_size == (32, 48)
    none = tmp_path / "none.yaml"
    none.write_text(recipe.read_text().replace("image_size: 32", "seed: 1"))
    assert Detector.from_config([none]).image_size == (32, 32)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("data:\n  image_size: large\n")
    with pytest.raises(ValueError, match=r"data\.image_size to be a side .* got 'large'"):
        Detector.from_config([recipe, wrong])


def test_unreadable_images_are_refused_or_named(few_shot, tmp_path) -> None:
    paths = write_textures(tmp_path / "good", 5)
    paths[2].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"corrupt, truncated or of an unsupported kind at .*002"):
        few_shot.observe_normal(paths)
    named: list[str] = []
    seen = few_shot.observe_normal(paths, on_unreadable=lambda name, error: named.append(name))
    assert seen == NormalsSeen(4, 0)
    found = list(few_shot.score_each(paths, None, lambda name, error: named.append(name)))
    assert [each.name for each in found] == [str(p) for p in paths if p != paths[2]]
    assert named == [str(paths[2])] * 2


@pytest.mark.parametrize(
    ("pixels", "got"),
    [
        (np.zeros((4, 4)), "float64 of shape"),
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4"),
    ],
)
def test_arrays_of_another_kind_are_refused(few_shot, tmp_path, pixels, got) -> None:
    few_shot.observe_normal(write_textures(tmp_path / "good", 1))
    with pytest.raises(ValueError, match=f"expected uint8 pixels .* for image 1, got {got}"):
        few_shot.score([pixels])


def test_any_number_of_images_is_scored_in_batches(few_shot, tmp_path) -> None:
    paths = write_textures(tmp_path / "good", 7)
    few_shot.observe_normal(paths[:2])
    few_shot.batch_size = 3
    by_threes = few_shot.score(paths)
    few_shot.batch_size = 1
    for one, other in zip(few_shot.score(paths), by_threes, strict=True):
        assert one.name == other.name
        assert one.score == pytest.approx(other.score, rel=1e-5, abs=1e-6)


def test_maps_from_gradients_are_plain_values(tmp_path) -> None:
    head = {"class_path": "clad.heads.grad_cam.GradCam"}
    recipe = write_recipe(tmp_path / "r.yaml", head, prompts=DESCRIPTIONS)
    (found,) = Detector.from_config(recipe, "nut").score(write_textures(tmp_path / "a", 1))
    assert found.map.shape == (64, 64)
    assert np.isfinite(found.score)
    assert found.region_words
