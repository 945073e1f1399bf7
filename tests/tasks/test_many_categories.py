"""One model for many categories: rows per category, and scores that do not depend on company."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import CATEGORIES, fitted, make_data, make_trainer, text_recipe, write_images

pytestmark = pytest.mark.filterwarnings("ignore")
TEXT_PARTS = ("image_text", "patch_text")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def task(root):
    """Every slot and every kind of head, trained on `all` categories of the folder."""
    task = text_recipe()
    fitted(root, task, max_epochs=2)
    return task


def collected(root, task, **settings):
    data = make_data(root, **settings)
    make_trainer().test(task, datamodule=data, verbose=False)
    return task.collected, task.evaluation


def test_one_training_gives_a_row_for_each_category_and_their_mean(root, task):
    found, evaluation = collected(root, task, categories="all")
    assert tuple(evaluation.per_category) == CATEGORIES
    assert sorted(set(found.categories)) == sorted(CATEGORIES)
    for name in ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"):
        rows = [evaluation.per_category[category][name] for category in CATEGORIES]
        assert not any(math.isnan(value) for value in rows)
        assert evaluation.mean[name] == pytest.approx(sum(rows) / 2)
    assert set(task.thresholds) == set(CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_category_scores_alone_as_among_others(root, task, category):
    together, all_of_them = collected(root, task, categories="all")
    alone, evaluation = collected(root, task, categories=[category])
    rows = together.rows_of(category)
    assert tuple(evaluation.per_category) == (category,)
    assert [together.paths[row] for row in rows] == list(alone.paths)
    np.testing.assert_allclose(alone.scores, together.scores[rows], rtol=1e-4, atol=1e-5)
    expected, found = all_of_them.per_category[category], evaluation.per_category[category]
    for name in ("pixel_auroc", "pixel_ap", "pixel_aupro"):  # of all maps of the category
        assert found[name] == pytest.approx(expected[name], abs=1e-7)
    assert set(TEXT_PARTS) <= set(alone.parts)


def test_company_in_the_batch_changes_nothing(root, task):
    data = make_data(root)
    data.setup("test")
    whole = next(iter(data.test_dataloader()))
    with torch.no_grad():
        task.eval()
        together = task(whole)
        for size in (1, 5):
            data = make_data(root, test_batch_size=size)
            data.setup("test")
            parts = [task(batch) for batch in data.test_dataloader()]
            scores = torch.cat([each.scores for each in parts])
            torch.testing.assert_close(scores[: len(whole)], together.scores, rtol=1e-4, atol=1e-5)


def test_an_image_is_compared_with_the_words_of_its_own_category(root, task):
    """The same pixels under another name score differently: words, memory, scales are its own."""
    data = make_data(root)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    swapped = tuple(CATEGORIES[1 - CATEGORIES.index(name)] for name in batch.categories)
    with torch.no_grad():
        own, other = task(batch), task(replace(batch, categories=swapped))
    for part in own.parts:
        assert not torch.allclose(own.parts[part], other.parts[part]), part
