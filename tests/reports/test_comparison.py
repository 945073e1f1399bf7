"""Comparisons of runs: values, tests and tables against the functions they are made of."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from run_directories import Faces, Files, write_tiny_run
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from clad.metrics.functional.delong import delong_test
from clad.metrics.functional.holm import holm
from clad.metrics.paired import paired_difference
from clad.reports.compare_tables import format_p, to_json, to_markdown, to_text
from clad.reports.comparison import Comparison, compare_runs
from clad.reports.run_directory import Run, read_run

NAMES = ("nut", "tile", "tube")
SIZE = 40
THRESHOLDS = (dict.fromkeys(NAMES, 0.6), dict.fromkeys(NAMES, 0.4))


def scores_of(seed: int, names: tuple[str, ...] = NAMES, gain: float = 1.0) -> Files:
    """Half normal, half anomalous; runs of one stem share what is hard."""
    shared, own = np.random.default_rng(99), np.random.default_rng(seed)
    return {
        f"{name}/{number:03d}.png": (
            number % 2,
            gain * (number % 2) + shared.normal() + 0.5 * own.normal(),
        )
        for name in names
        for number in range(SIZE)
    }


def arrays(files: Files, name: str = "") -> tuple[np.ndarray, np.ndarray]:
    rows = [value for path, value in files.items() if path.startswith(name)]
    return np.array([label for label, _ in rows]), np.array([score for _, score in rows])


@pytest.fixture(scope="module")
def files() -> list[Files]:
    return [scores_of(1), scores_of(2, gain=2.0), scores_of(3)]


@pytest.fixture(scope="module")
def runs(files: list[Files], tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    pixels = ({"nut": 0.9, "tile": 0.7}, {"nut": 0.95, "tile": 0.6}, {})
    return [
        read_run(write_tiny_run(folder / f"r{n}", each, thresholds=limits, pixels=known))
        for n, (each, limits, known) in enumerate(
            zip(files, (*THRESHOLDS, None), pixels, strict=True)
        )
    ]


@pytest.fixture(scope="module")
def found(runs: list[Run]) -> Comparison:
    (found,) = compare_runs(runs[0], runs[1:2], num_resamples=200)
    return found


def test_rows_are_the_metrics_and_tests_of_the_same_images(
    found: Comparison, files: list[Files]
) -> None:
    rows = {(row.metric, row.name): row for row in found.metrics}
    assert set(rows) == {
        (f"image_{metric}", name) for metric in ("auroc", "ap", "eer") for name in (*NAMES, "mean")
    }
    oracles = {"image_auroc": roc_auc_score, "image_ap": average_precision_score}
    for metric, oracle in oracles.items():
        pairs = [tuple(oracle(*arrays(each, name)) for each in files[:2]) for name in NAMES]
        for name, pair in zip((*NAMES, "mean"), [*pairs, np.mean(pairs, axis=0)], strict=True):
            row = rows[metric, name]
            assert row.values == pytest.approx(tuple(pair))
            assert row.difference == pytest.approx(pair[1] - pair[0])
            assert row.interval.low <= row.difference <= row.interval.high
    labels, first = arrays(files[0])
    second = arrays(files[1])[1]
    names = [name for name in NAMES for _ in range(SIZE)]
    mean = paired_difference(second, first, labels, names, num_resamples=200)
    assert (rows["image_auroc", "mean"].interval, rows["image_auroc", "mean"].p_value) == mean[1:3]
    p_values = [
        delong_test(arrays(files[1], n)[1], arrays(files[0], n)[1], arrays(files[0], n)[0]).p_value
        for n in NAMES
    ]
    shown = [rows["image_auroc", name] for name in NAMES]
    assert [row.delong for row in shown] == pytest.approx(p_values)
    assert [row.delong_holm for row in shown] == pytest.approx(holm(p_values))
    assert [row.p_holm for row in shown] == pytest.approx(holm([row.p_value for row in shown]))
    assert rows["image_auroc", "mean"].p_holm == rows["image_auroc", "mean"].p_value
    assert math.isnan(rows["image_ap", "nut"].delong)


def test_the_mean_in_delongs_test_adds_variances(found: Comparison, files: list[Files]) -> None:
    from scipy.stats import norm

    tests = [
        delong_test(arrays(files[1], n)[1], arrays(files[0], n)[1], arrays(files[0], n)[0])
        for n in NAMES
    ]
    error = math.sqrt(sum(each.standard_error**2 for each in tests)) / 3
    mean = sum(each.difference for each in tests) / 3
    (row,) = [r for r in found.metrics if (r.metric, r.name) == ("image_auroc", "mean")]
    assert row.delong == pytest.approx(2 * norm.sf(abs(mean) / error))


def test_verdicts_are_counted_at_each_runs_own_threshold(
    found: Comparison, files: list[Files]
) -> None:
    right = []
    for each, limits in zip(files[:2], THRESHOLDS, strict=True):
        labels, scores = arrays(each)
        right.append((scores >= limits["nut"]) == (labels == 1))
    total = found.verdicts[-1]
    assert (total.name, total.num, total.is_total) == ("all", 3 * SIZE, True)
    assert total.right == (right[0].sum(), right[1].sum())
    assert total.only == ((right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum())
    assert total.p_value == pytest.approx(binomtest(total.only[0], sum(total.only), 0.5).pvalue)
    rows = found.verdicts[:-1]
    assert tuple(row.name for row in rows) == NAMES
    assert [row.p_holm for row in rows] == pytest.approx(holm([row.p_value for row in rows]))


def test_pixel_metrics_are_plain_differences(found: Comparison) -> None:
    rows = found.pixels["pixel_auroc"]
    assert rows["nut"] == (0.9, 0.95)
    assert rows["mean"] == pytest.approx((0.8, 0.775))
    assert "pixel metrics: no interval and no p-value, because maps are not kept" in found.notes
    text = to_text([found])
    section = text[text.index("\npixel_auroc") + 1 :].splitlines()
    assert section[3].split() == ["nut", "0.900", "0.950", "+0.050"]


def test_holm_counts_every_run_and_each_run_has_its_tables(runs: list[Run]) -> None:
    both = compare_runs(runs[0], runs[1:], num_resamples=100)
    rows = [r for each in both for r in each.metrics if r.metric == "image_auroc"]
    categories = [r for r in rows if r.name != "mean"]
    assert len(categories) == 6
    assert [r.p_holm for r in categories] == pytest.approx(holm([r.p_value for r in categories]))
    means = [r for r in rows if r.name == "mean"]
    assert [r.p_holm for r in means] == pytest.approx(holm([r.p_value for r in means]))
    assert both[1].verdicts == ()
    assert "verdicts: not compared, because a run has no thresholds" in both[1].notes
    text = to_text(both)
    assert "B against A: 60 normal and 60 anomalous test images" in text
    assert "C - A" in text
    assert "corrected over the 6 rows of categories and runs that ask the same" in text
    assert "no p of the bootstrap below 0.12 can come out of 100 draws; raise --resamples" in text


def test_other_test_sets_need_common(tmp_path: Path, files: list[Files], runs: list[Run]) -> None:
    fewer = {path: value for path, value in files[1].items() if not path.startswith("tube")}
    more = {**fewer, "tile/900.png": (1, 3.0)}
    folder = write_tiny_run(tmp_path / "more", more, root="/elsewhere", pixels={"nut": 0.5})
    other = read_run(folder)
    with pytest.raises(ValueError, match=r"got 40 only in .*r0 and 1 only in .*more; pass --commo"):
        compare_runs(runs[0], [other])
    (found,) = compare_runs(runs[0], [other], is_common=True, num_resamples=100)
    rows = {row.name: row for row in found.metrics if row.metric == "image_auroc"}
    assert list(rows) == ["nut", "tile", "mean"]
    assert rows["tile"].values == tuple(
        pytest.approx(roc_auc_score(*arrays(each, "tile"))) for each in files[:2]
    )
    assert found.pixels == {}
    text = to_text([found])
    assert "left out: 40 only in A, 1 only in B" in text
    assert "pixel metrics: not shown, because maps of the common images alone are not kept" in text


def test_what_has_no_value_says_why(tmp_path: Path) -> None:
    files: Files = {
        "nut/0.png": (0, 0.1), "nut/1.png": (0, 0.4), "nut/2.png": (1, 0.3),
        "tile/0.png": (0, 0.1), "tile/1.png": (0, 0.2),
    }  # fmt: skip
    runs = [read_run(write_tiny_run(tmp_path / name, files)) for name in "ab"]
    (found,) = compare_runs(runs[0], runs[1:], num_resamples=20)
    rows = {row.name: row for row in found.metrics if row.metric == "image_auroc"}
    assert rows["nut"].values == (0.5, 0.5)
    assert rows["nut"].difference == 0
    assert math.isnan(rows["nut"].p_value)
    assert all(math.isnan(value) for value in (*rows["tile"].values, rows["mean"].difference))
    assert "images of tile: undefined, no anomalous image" in found.notes
    assert any(
        "nut: no interval and no p-value, because the anomalous ones" in n for n in found.notes
    )
    stored = to_json([found], {})
    json.dumps(stored, allow_nan=False)
    assert stored["comparisons"][0]["metrics"][1]["first"] is None


def test_groups_are_drawn_whole_and_take_no_test_of_independent_images(tmp_path: Path) -> None:
    one, other = (scores_of(seed, ("nut",)) for seed in (1, 2))
    groups = [f"person {number // 4}" for number in range(SIZE)]
    limits = {"nut": 0.5}
    runs = [
        read_run(write_tiny_run(tmp_path / name, files, groups=groups, thresholds=limits))
        for name, files in (("a", one), ("b", other))
    ]
    (found,) = compare_runs(runs[0], runs[1:], num_resamples=100)
    row = found.metrics[0]
    labels, first = arrays(one)
    expected = paired_difference(
        arrays(other)[1], first, labels, ["nut"] * SIZE, groups, num_resamples=100
    )
    assert row.difference == pytest.approx(expected.value)
    assert row.interval == pytest.approx(expected.interval)
    assert math.isnan(row.delong)
    assert math.isnan(found.verdicts[0].p_value)
    assert any("images: no DeLong test, because they hang together" in n for n in found.notes)
    assert any("verdicts: no McNemar test" in note for note in found.notes)
    assert "over groups of test images (videos or persons)" in to_text([found])


def test_videos_are_compared_as_videos(tmp_path: Path) -> None:
    one, other = (scores_of(seed, ("face",)) for seed in (1, 2))
    # Two frames each; label = number % 2 must be one within a video.
    videos = [f"v{number % 2 + 2 * (number // 4)}" for number in range(SIZE)]
    faces = Faces([f"f{number}" for number in range(SIZE)], videos)
    runs = [
        read_run(write_tiny_run(tmp_path / name, files, faces=faces))
        for name, files in (("a", one), ("b", other))
    ]
    (found,) = compare_runs(runs[0], runs[1:], num_resamples=100)
    rows = {row.metric: row for row in found.metrics}
    assert [name for name in rows if name.endswith("auroc")] == ["image_auroc", "video_auroc"]
    expected = []
    for files in (one, other):
        labels, scores = arrays(files)
        names = list(dict.fromkeys(videos))
        rows_of = [[row for row in range(SIZE) if videos[row] == name] for name in names]
        means = [scores[own].mean() for own in rows_of]
        expected.append(roc_auc_score([labels[own[0]] for own in rows_of], means))
    assert rows["video_auroc"].values == pytest.approx(tuple(expected))
    assert math.isnan(rows["image_auroc"].delong)
    assert not math.isnan(rows["video_auroc"].delong)


def test_what_else_differs_is_warned_of(
    tmp_path: Path, files: list[Files], runs: list[Run]
) -> None:
    folder = write_tiny_run(tmp_path / "b", files[1], seed=7, image_size=128, sha256="cd" * 32)
    (found,) = compare_runs(runs[0], [read_run(folder)], num_resamples=20)
    assert found.warnings == (
        "the fingerprints of the data (files, sizes or roles) differ: abababababab and "
        "cdcdcdcdcdcd",
        "the seeds differ: 0 / 42 and 7 / 42",
        "the image sizes differ: 64 and 128",
    )
    assert "warning: the image sizes differ: 64 and 128" in to_text([found])


def test_a_page_and_p_values_in_words(found: Comparison) -> None:
    page = to_markdown([found])
    assert "### image_auroc\n\n| category | A | B | B - A | 95% interval | p |" in page
    assert page.count("| **mean** |") == 4
    assert [format_p(p) for p in (0.0004, 0.001, 1.0, math.nan)] == [
        "<0.001", "0.001", "1.000", "undefined",
    ]  # fmt: skip
