"""The table and the pictures of ``clad predict``, apart from any training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clad.cli.predictions import PredictionWriter
from clad.cli.waiting_maps import picture_names
from clad.explain.scored_image import ScoredImage
from clad.explain.vocabulary import DescribedPrediction
from clad.reports.overlay import overlay, overlay_on_grey
from clad.types import Batch

SIZE = 16


def write_image(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)).save(path)
    return str(path)


def batch_of(paths: list[str], categories: tuple[str, ...]) -> Batch:
    count = len(paths)
    return Batch(
        images=torch.full((count, 3, SIZE, SIZE), 128, dtype=torch.uint8),
        labels=torch.zeros(count, dtype=torch.int64),
        masks=torch.zeros(count, SIZE, SIZE, dtype=torch.bool),
        has_mask=torch.ones(count, dtype=torch.bool),
        categories=categories,
        defect_types=("good",) * count,
        paths=tuple(paths),
    )


def flat_maps(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1).expand(-1, SIZE, SIZE).clone()


def test_table_has_one_row_per_image_and_judges_by_category(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / "images" / f"{i}.png") for i in range(3)]
    writer = PredictionWriter(tmp_path / "out")
    writer.add(DescribedPrediction(torch.tensor([0.5, 2.0])), batch_of(paths[:2], ("a", "b")))
    writer.add(DescribedPrediction(torch.tensor([0.25])), batch_of(paths[2:], ("a",)))
    written = writer.finish({"a": 0.5, "b": 3.0})
    assert (written.num_images, written.num_called, written.has_maps) == (3, 1, False)
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "category", "score", "threshold", "is_anomalous"],
        [paths[0], "a", "0.5", "0.5", "1"],
        [paths[1], "b", "2.0", "3.0", "0"],
        [paths[2], "a", "0.25", "0.5", "0"],
    ]


def test_without_thresholds_nothing_is_judged(tmp_path: Path) -> None:
    path = write_image(tmp_path / "0.png")
    writer = PredictionWriter(tmp_path / "out")
    writer.add(DescribedPrediction(torch.tensor([1.0])), batch_of([path], ("a",)))
    assert writer.finish(None).num_called is None
    assert (tmp_path / "out" / "scores.csv").read_text().splitlines()[1] == f"{path},a,1.0,,"


def test_all_pictures_share_one_scale(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / "images" / f"{i}.png") for i in range(3)]
    writer = PredictionWriter(tmp_path / "out")
    # Two batches: a scale per batch or per image would show the values 1 and 3 alike.
    writer.add(
        DescribedPrediction(torch.tensor([1.0, 2.0]), flat_maps(1, 2)),
        batch_of(paths[:2], ("a",) * 2),
    )
    writer.add(DescribedPrediction(torch.tensor([3.0]), flat_maps(3)), batch_of(paths[2:], ("a",)))
    assert writer.finish({"a": 2.0}).has_maps
    grey = np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)
    for path, position in zip(paths, (0.0, 0.5, 1.0), strict=True):
        shown = np.asarray(Image.open(tmp_path / "out" / "maps" / Path(path).name))
        np.testing.assert_array_equal(shown, overlay(grey, np.full((SIZE, SIZE), position)))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scores.csv", "maps"}


def test_a_picture_that_comes_with_the_image_is_drawn_on_and_no_file_is_read(
    tmp_path: Path,
) -> None:
    writer = PredictionWriter(tmp_path / "out")
    grey = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    values = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    for number in range(3):
        name = str(tmp_path / "absent" / f"{number}.png")
        picture = np.roll(grey, number)
        writer.add_image(ScoredImage(name, "a", 1.0, (40, 60), values, picture=picture))
    assert writer.finish({"a": 0.5}).has_maps
    for number in range(3):
        shown = np.asarray(Image.open(tmp_path / "out" / "maps" / f"{number}.png"))
        assert shown.shape == (20, 30, 3)
        coldest = overlay_on_grey(np.roll(grey, number), np.zeros((20, 30)))
        np.testing.assert_array_equal(shown[0, 0], coldest[0, 0])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scores.csv", "maps"}


def test_pictures_are_named_like_their_images() -> None:
    assert picture_names(["d/x/1.png", "d/y/1.png"]) == ["x/1.png", "y/1.png"]
    assert picture_names(["d/1.png"]) == ["1.png"]
    names = picture_names(["d/1.png", "d/1.jpg", "d/1.PNG"])
    assert names == ["1.png", "1.jpg.png", "1.PNG"]


def test_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected images to predict, got none"):
        PredictionWriter(tmp_path).finish(None)
