"""Mean and spread over seeds: values by hand, and what is said of them."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import pytest

from clad.metrics.evaluation import Evaluation, Values, macro_mean
from clad.reports.seeds import SeedReport, SeedRun, spreads, to_markdown, to_text, write_seeds


def seed_run(seed: int, nut: float, tile: float) -> SeedRun:
    rows: dict[str, Values] = {
        "nut": {"image_auroc": nut, "pixel_auroc": math.nan},
        "tile": {"image_auroc": tile, "pixel_auroc": math.nan},
    }
    mean, left_out = macro_mean(rows.values())
    return SeedRun(seed, f"seed_{seed}", Evaluation(rows, mean, (), left_out), 2.0, 10)


def report(*runs: SeedRun, vary: str = "training", planned: tuple[int, ...] = ()) -> SeedReport:
    return SeedReport("tiny", "clad fit ...", vary, planned or tuple(r.seed for r in runs), runs)


THREE = (seed_run(0, 0.9, 0.5), seed_run(1, 0.8, 0.7), seed_run(7, 1.0, math.nan))


def test_spread_of_each_category_and_of_the_mean() -> None:
    found = spreads(THREE)
    assert list(found) == ["nut", "tile", "mean"]
    nut = found["nut"]["image_auroc"]
    assert nut == pytest.approx((0.9, statistics.stdev([0.9, 0.8, 1.0]), 0.8, 1.0, 3))
    assert found["tile"]["image_auroc"].num == 2
    # Means over categories are 0.7, 0.75 and, with one category, 1.
    mean = found["mean"]["image_auroc"]
    assert (mean.mean, mean.std) == pytest.approx(
        (statistics.mean([0.7, 0.75, 1.0]), statistics.stdev([0.7, 0.75, 1.0]))
    )
    assert found["mean"]["pixel_auroc"].num == 0


def test_text_and_page_show_what_has_a_value() -> None:
    text = to_text(report(*THREE), ("image_auroc", "pixel_auroc", "video_auroc"))
    lines = text.splitlines()
    assert lines[0] == "image_auroc"
    assert lines[1].split() == ["category", "mean", "±", "std", "min", "max", "n"]
    assert lines[3].split() == ["nut", "0.900", "±", "0.100", "0.800", "1.000", "3"]
    assert "pixel_auroc" not in text
    assert "std: sample standard deviation over 3 seeds (n - 1), not of their mean" in lines
    assert any(line.startswith("varied: new weights, dropout") for line in lines)
    page = to_markdown(report(*THREE))
    assert page.startswith("# tiny: seeds 0, 1, 7\n")
    assert "| nut | 0.900 ± 0.100 | 0.800 | 1.000 | 3 |" in page


def test_one_seed_has_no_deviation_and_says_so() -> None:
    text = to_text(report(THREE[0], planned=(0, 1)), ("image_auroc",))
    assert "1 of 2 seeds are done" in text
    assert "one seed: a standard deviation is undefined, it takes two" in text
    assert "±" not in text.replace("mean ± std", "")


@pytest.mark.parametrize(("vary", "has_hint"), [("training", True), ("all", False)])
def test_seeds_that_change_nothing_are_noticed(vary: str, has_hint: bool) -> None:
    text = to_text(
        report(seed_run(0, 0.9, 0.5), seed_run(1, 0.9, 0.5), vary=vary), ("image_auroc",)
    )
    assert "every seed gave the same numbers: nothing here depends on what was varied" in text
    assert ("--vary all draws splits anew, too" in text) == has_hint
    assert "every seed" not in to_text(report(*THREE, vary=vary), ("image_auroc",))


def test_files_hold_every_value(tmp_path: Path) -> None:
    write_seeds(tmp_path, report(planned=(0, 1, 7)))
    assert json.loads((tmp_path / "seeds.json").read_text())["runs"] == []
    assert not (tmp_path / "seeds.md").exists()
    write_seeds(tmp_path, report(*THREE))
    stored = json.loads((tmp_path / "seeds.json").read_text())
    assert stored["seeds"] == [0, 1, 7]
    assert stored["runs"][2] == {"seed": 7, "folder": "seed_7", "seconds": 2.0}
    tile = stored["per_category"]["tile"]["image_auroc"]
    assert tile["values"] == [0.5, 0.7, None]
    assert tile["std"] == pytest.approx(statistics.stdev([0.5, 0.7]))
    assert stored["mean"]["pixel_auroc"]["mean"] is None
    assert (tmp_path / "seeds.md").read_text() == to_markdown(report(*THREE))
