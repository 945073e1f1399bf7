"""Words in a task's predictions: where they come from, and where there are none."""

from __future__ import annotations

import pytest
import torch
from fakes import FakeTower, fake_batch
from tiny_runs import fitted, make_data, make_trainer, memory_recipe, text_recipe, write_images
from torch.nn import functional

from clad.explain.regions import hottest_area
from clad.heads.image_text import ImageText
from clad.heads.normal_memory import NormalMemory
from clad.heads.patch_text import PatchText
from clad.metrics.naming import naming_accuracy
from clad.prompts.defect_descriptions import DefectDescriptions
from clad.prompts.single_pair import SinglePair
from clad.prompts.words import class_words
from clad.tasks.anomaly_task import AnomalyTask

CATEGORIES = ("metal_nut", "tile")


class RandomClip(FakeTower):
    """Vectors of both sides are there, from weights that were never trained together."""

    def encode_pixels(self, pixels):
        self.is_aligned = True
        features = super().encode_pixels(pixels)
        self.is_aligned = False
        return features


def described(head, prompts=None, aligned: bool = True):
    tower = FakeTower(aligned=aligned)
    task = AnomalyTask(tower, head, prompts=prompts)
    task.attach(CATEGORIES)
    batch = fake_batch(categories=("metal_nut", "tile"), labels=(0, 1))
    with torch.no_grad():
        return task, batch, task.eval().describe(batch)


def test_words_are_cosines_of_the_hottest_region() -> None:
    task, batch, found = described(PatchText(sigma_px=1.0), DefectDescriptions())
    torch.testing.assert_close(found.maps, task(batch).maps)
    features = task.encode(batch)
    for row, category in enumerate(batch.categories):
        words = class_words(category)
        assert {each.defect_type for each in found.region_words[row]} == set(words.defects)
        area = torch.from_numpy(hottest_area(found.maps[row].detach().numpy())).float()
        vector = torch.zeros(16)
        for patches, (height, width) in zip(features.patches, features.grids, strict=True):
            share = area.unflatten(0, (height, -1)).unflatten(2, (width, -1)).mean((1, 3)).flatten()
            vector += (share[:, None] * patches[row]).sum(0) / share.sum()
        vector = functional.normalize(vector, dim=0)
        best = found.region_words[row][0]
        sentences = [text for texts in words.defects.values() for text in texts]
        embedded = functional.normalize(task.tower.encode_text(sentences), dim=-1) @ vector
        assert best.text == sentences[int(embedded.argmax())]
        assert best.similarity == pytest.approx(float(embedded.max()), abs=1e-5)
        assert best.level == "region"


def test_words_are_cosines_of_the_whole_image() -> None:
    task, batch, found = described(ImageText(), DefectDescriptions())
    assert found.region_words == (), "there is no map"
    pooled = task.encode(batch).pooled
    for row, category in enumerate(batch.categories):
        for each in found.words[row]:
            texts = class_words(category).defects[each.defect_type]
            embedded = functional.normalize(task.tower.encode_text(texts), dim=-1) @ pooled[row]
            assert each.text == texts[int(embedded.argmax())]
            assert each.similarity == pytest.approx(float(embedded.max()), abs=1e-5)
            assert each.level == "image"


def test_no_words_without_descriptions() -> None:
    _, _, found = described(ImageText(), SinglePair())
    assert (found.words, found.region_words) == ((), ())


def test_no_words_from_a_space_that_is_not_aligned(tmp_path) -> None:
    write_images(tmp_path)
    tower = RandomClip(aligned=False)
    task = AnomalyTask(tower, NormalMemory(size=60), prompts=DefectDescriptions())
    fitted(tmp_path, task, max_epochs=1)
    batch = fake_batch(CATEGORIES, (0, 1))
    with torch.no_grad():
        found = task.eval().describe(batch)
        assert task.encode(batch).is_aligned
    assert not task.has_shared_space
    assert (found.words, found.region_words) == ((), ())


def test_predictions_of_a_trained_recipe_have_words(tmp_path) -> None:
    write_images(tmp_path)
    task = text_recipe(prompts=DefectDescriptions())
    fitted(tmp_path, task, max_epochs=1)
    predictions = make_trainer().predict(task, datamodule=make_data(tmp_path))
    words = [ranking for each in predictions for ranking in each.words]
    assert len(words) == len(make_data(tmp_path).splits.test)
    for ranking in words:
        similarities = [each.similarity for each in ranking]
        assert similarities == sorted(similarities, reverse=True)
    moved = predictions[0].to("cpu")
    assert moved.words == predictions[0].words
    make_trainer().test(task, datamodule=make_data(tmp_path), verbose=False)
    types = [[word.defect_type for word in ranking] for ranking in words]
    truth = [s.defect_type for s in make_data(tmp_path).splits.test]
    labels = [s.label for s in make_data(tmp_path).splits.test]
    assert set(task.naming) == {"image", "region"}
    assert task.naming["image"] == naming_accuracy(types, truth, labels)


def test_a_recipe_without_descriptions_names_nothing(tmp_path) -> None:
    write_images(tmp_path)
    task = memory_recipe()
    fitted(tmp_path, task, max_epochs=1)
    make_trainer().test(task, datamodule=make_data(tmp_path), verbose=False)
    assert task.naming == {}
