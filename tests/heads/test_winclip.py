"""WinCLIP's recipes against the literal method, on small random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from fakes import FakeTower, fake_batch
from lightning.pytorch.cli import LightningArgumentParser
from slow_winclip import SlowWinCLIP, prompts
from tiny_clip import tiny
from torch.nn import functional

from clad.heads.winclip import WinCLIP
from clad.heads.winclip_few_shot import WinCLIPFewShot
from clad.heads.windows import harmonic_mean, text_map, window_map
from clad.tasks.anomaly_task import AnomalyTask
from clad.types import Alignment, ImageFeatures

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
# The last block but one is the second.
SMALL = tiny(vision_layers=3)
SIZE = (40, 48)  # 5 x 6 patches
FULL_SIZE = (120, 120)  # 15 x 15 patches, as in ViT-B-16-plus-240
CATEGORY = "metal_nut"


def task_of(recipe: str, size: tuple[int, int] = SIZE, **head) -> AnomalyTask:
    """The shipped recipe around a tower of small random weights."""
    model = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["model"]
    small = {"model_name": SMALL, "pretrained": "random", "layers": [2], "image_size": list(size)}
    model["tower"]["init_args"] |= small
    model["head"].setdefault("init_args", {}).update(head)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(AnomalyTask, "model")
    task = parser.instantiate_classes(parser.parse_object({"model": model})).model
    task.tower.is_aligned = True  # random weights otherwise refuse words
    task.attach((CATEGORY,))
    return task.eval()


class Seen:
    """The images of the tests, and what the slow method sees in them."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.queries, self.references = (
            fake_batch([CATEGORY] * 2, [0] * 2, image_size=size, seed=seed) for seed in (1, 2)
        )
        self.slow = SlowWinCLIP(task_of("winclip", size).tower)
        both = torch.cat([self.queries.images, self.references.images])
        pooled, windows, patches, grid = self.slow.look(both)
        self.looked, self.known = (
            (pooled[rows], {key: v[rows] for key, v in windows.items()}, patches[rows], grid)
            for rows in (slice(0, 2), slice(2, 4))
        )


@pytest.fixture(
    scope="module", params=[SIZE, pytest.param(FULL_SIZE, marks=pytest.mark.slow)], ids=str
)
def seen(request) -> Seen:
    return Seen(request.param)


def enlarged(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other).abs().max().item()


@torch.no_grad()
def test_zero_shot_scores_and_maps_equal_the_literal_method(seen):
    found = task_of("winclip", seen.size)(seen.queries)
    scores, maps = seen.slow.zero_shot(seen.looked, "metal nut")
    assert largest_difference(found.scores, scores) < 1e-5
    assert largest_difference(found.maps, enlarged(maps, seen.size)) < 1e-5
    assert maps.std() > 1e-3, "a flat map would agree with any other"


@torch.no_grad()
@pytest.mark.parametrize("combine", ["mean", "harmonic"])
def test_few_shot_scores_and_maps_equal_the_literal_method(seen, combine):
    task = task_of("winclip_few_shot", seen.size, combine=combine)
    task.head.start_reference()
    for row in range(2):
        one = replace(seen.references, images=seen.references.images[row : row + 1])
        task.head.observe(task.encode(one), (CATEGORY,))
    task.head.finish_reference()
    found = task(seen.queries)
    scores, maps = seen.slow.few_shot(seen.looked, seen.known, "metal nut", combine)
    assert largest_difference(found.scores, scores) < 1e-5
    assert largest_difference(found.maps, enlarged(maps, seen.size)) < 1e-5
    torch.testing.assert_close(found.scores, (found.parts["text"] + found.parts["memory"]) / 2)


@torch.no_grad()
def test_counts_are_those_of_the_paper():
    task = task_of("winclip", FULL_SIZE)
    sentences = task.prompts.ensemble.prompts("metal nut")
    assert [len(side) for side in sentences] == [154, 88]
    assert [set(side) for side in sentences] == [set(side) for side in prompts("metal nut")]
    windows = task.encode(fake_batch(image_size=FULL_SIZE)).windows
    assert [scale.shape[1] for scale in windows] == [196, 169]


def slow_window_map(scores, grid, side):
    rows = torch.zeros(grid, dtype=scores.dtype)
    for row in range(grid[0]):
        for column in range(grid[1]):
            covering = [
                scores[top * (grid[1] - side + 1) + left]
                for top in range(grid[0] - side + 1)
                for left in range(grid[1] - side + 1)
                if top <= row < top + side and left <= column < left + side
            ]
            rows[row, column] = len(covering) / sum(1 / score for score in covering)
    return rows


class TestAggregation:
    @pytest.mark.parametrize(("grid", "side"), [((4, 4), 2), ((3, 5), 3), ((2, 3), 1)])
    def test_map_equals_loops_over_covering_windows(self, grid, side):
        count = (grid[0] - side + 1) * (grid[1] - side + 1)
        scores = torch.rand(2, count, dtype=torch.float64) + 0.01
        found = window_map(scores, grid, side)
        for ours, row in zip(found, scores, strict=True):
            torch.testing.assert_close(ours, slow_window_map(row, grid, side))

    def test_two_windows_by_hand(self):
        found = window_map(torch.tensor([[0.2, 0.6]]), (2, 3), 2)
        middle = 2 / (1 / 0.2 + 1 / 0.6)
        expected = torch.tensor([[[0.2, middle, 0.6]] * 2])
        torch.testing.assert_close(found, expected)

    def test_harmonic_mean_is_at_most_the_arithmetic_one(self):
        values = torch.rand(3, 100, dtype=torch.float64)
        assert (harmonic_mean(values) <= values.mean(0)).all()
        windows = torch.rand(4, 9, dtype=torch.float64)
        counts = window_map(torch.ones(4, 9, dtype=torch.float64), (4, 4), 2)
        assert torch.equal(counts, torch.ones_like(counts))
        blocks = functional.fold(windows[:, None].expand(-1, 4, -1), (4, 4), 2)[:, 0]
        cover = functional.fold(torch.ones(1, 4, 9, dtype=torch.float64), (4, 4), 2)[:, 0]
        assert (window_map(windows, (4, 4), 2) <= blocks / cover + 1e-12).all()

    def test_a_score_of_zero_gives_zero_and_nothing_infinite(self):
        found = window_map(torch.tensor([[0.0, 0.5]]), (2, 3), 2)
        assert found.isfinite().all()
        assert found[0, 0].tolist() == pytest.approx([0.0, 0.0, 0.5], abs=1e-9)

    def test_scores_of_another_count_are_refused(self):
        with pytest.raises(ValueError, match=r"window scores of shape \('any', 9\), got \(1, 8\)"):
            window_map(torch.ones(1, 8), (4, 4), 2)


def agreeing(score: float) -> tuple[ImageFeatures, Alignment]:
    """Image and all windows with the same logits."""
    logit = torch.tensor(score).logit()
    pair = torch.stack([torch.zeros(()), logit])
    features = ImageFeatures(
        tokens=(torch.zeros(1, 16, 3),),
        grids=((4, 4),),
        summary=torch.zeros(1, 1),
        windows=(torch.zeros(1, 9, 2), torch.zeros(1, 4, 2)),
        window_sides=(2, 3),
    )
    logits = (pair.expand(1, 9, 2), pair.expand(1, 4, 2))
    return features, Alignment(pair[None], (), ((4, 4),), 1.0, logits)


@pytest.mark.parametrize("score", [0.03, 0.5, 0.97])
def test_map_equals_the_image_score_where_all_windows_agree(score):
    found = WinCLIP()(*agreeing(score), ("nut",), (20, 20))
    assert found.scores.item() == pytest.approx(score)
    torch.testing.assert_close(found.maps, torch.full((1, 20, 20), score))


def test_one_window_that_is_sure_of_normal_pulls_its_patches_down():
    features, alignment = agreeing(0.5)
    small = alignment.window_logits[0].clone()
    small[0, 0, 1] -= 10
    changed = text_map(
        features, replace(alignment, window_logits=(small, alignment.window_logits[1]))
    )
    assert (changed[0, :2, :2] < 0.01).all()
    torch.testing.assert_close(changed[0, 2:], torch.full((2, 4), 0.5))


class TestMemory:
    def fitted(self, count=3, **settings):
        tower, head = FakeTower(), WinCLIPFewShot(**settings)
        head.attach(tower, ("nut", "tile"))
        batch = fake_batch(["nut", "tile"] * count, [0] * 2 * count)
        head.start_reference()
        head.observe(tower.encode_image(batch.images), batch.categories)
        head.finish_reference()
        return tower, head, batch

    def test_a_remembered_image_is_at_no_distance(self):
        tower, head, batch = self.fitted()
        features = tower.encode_image(batch.images)
        alignment = Alignment(
            torch.zeros(6, 2), (), (), 1.0, (torch.zeros(6, 9, 2), torch.zeros(6, 4, 2))
        )
        found = head(features, alignment, batch.categories, (32, 32))
        assert found.parts["memory"].max() < 1e-6
        swapped = head(features, alignment, ("tile", "nut") * 3, (32, 32))
        assert swapped.parts["memory"].min() > 1e-5, "each category has a memory of its own"

    def test_it_holds_every_window_and_patch_of_every_image(self):
        _, head, _ = self.fitted()
        shapes = {name: tuple(buffer.shape) for name, buffer in head.named_buffers()}
        assert shapes == {
            f"memory_{n}_{scale}": shape
            for n in range(2)
            for scale, shape in enumerate([(27, 16), (12, 16), (48, 8)])
        }

    def test_too_many_images_are_refused(self):
        with pytest.raises(ValueError, match=r"at most 2 normal images of nut.*set data.shots"):
            self.fitted(max_images=2)

    def test_tokens_of_another_grid_are_refused(self):
        with pytest.raises(ValueError, match=r"grid of the windows \(4, 4\), got \(2, 2\)"):
            self.fitted(layer=1)

    def test_a_layer_that_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="expected layer to be one of 0, 1; got '2'"):
            self.fitted(layer=2)

    def test_an_unknown_combination_is_refused(self):
        with pytest.raises(ValueError, match="combine to be one of harmonic, mean; got 'max'"):
            WinCLIPFewShot(combine="max")


@pytest.mark.parametrize("head", [WinCLIP(), WinCLIPFewShot()], ids=lambda h: type(h).__name__)
def test_a_tower_without_windows_is_refused(head):
    with pytest.raises(ValueError, match=r"gives window embeddings.*window_sides to \[2, 3\]"):
        head.attach(FakeTower(aligned=False), ("nut",))
