"""Tables, sentences and the report's section about faces."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from clad.metrics.evaluate import evaluate
from clad.reports.face_section import level_intervals
from clad.reports.face_tables import face_lines, family_table, kind_table, level_table
from clad.reports.html import render
from clad.reports.run_directory import read_run
from clad.reports.tables import metrics_table
from clad.samples import Origin


@pytest.fixture
def faces(collected):
    """40 crops per category: 10 videos of two frames with two crops; the last frame has no face."""
    size = len(collected)
    origins = tuple(
        Origin(str(i // 2 % 2), f"v{i // 4}", has_face=i % 40 < 38) for i in range(size)
    )
    labels = np.array([(i // 4) % 2 for i in range(size)])
    kinds = tuple(("good", "stylegan2", "good", "sdxl")[(i // 4) % 4] for i in range(size))
    scores = collected.scores + labels * np.linspace(0, 1, size)
    return replace(
        collected,
        labels=labels,
        defect_types=kinds,
        scores=scores,
        domains=("face",) * size,
        origins=origins,
        groups=tuple(f"person {i // 8}" for i in range(size)),
        masks=np.zeros_like(collected.masks),
        has_mask=labels == 0,
    )


def rows_of(lines):
    """Name -> cells of every line with numbers."""
    return {
        (cells := re.split(r"\s{2,}", line.strip()))[0]: cells[1:]
        for line in lines
        if "  " in line.strip()
    }


def test_text_shows_what_the_evaluation_holds(faces):
    thresholds = dict.fromkeys(("mono", "poly"), 1.4)
    result = evaluate(faces, thresholds, level_thresholds={"video": thresholds})
    lines = list(face_lines(result))
    rows = rows_of(lines)
    columns = rows["faces"][1:]
    assert columns == [
        *("auroc", "ap", "eer", "accuracy", "recall", "false_alarm_rate", "oracle_accuracy")
    ]
    count, *numbers = rows["mono, videos"]
    assert count == "10"
    assert [float(n) for n in numbers] == pytest.approx(
        [result.per_category["mono"][f"video_{c}"] for c in columns], abs=1e-3
    )
    assert rows["mono, images"][0] == "40"
    assert rows["mono, frames"][0] == "20"
    assert rows["mono, frames"][4] == "undefined"
    eer = result.per_manipulation["mono"]["sdxl"]["video_eer"]
    assert float(rows["mono, videos of sdxl"][2]) == pytest.approx(eer, abs=1e-3)
    mean = result.per_category["poly"]["manipulation_mean_image_ap"]
    assert float(rows["poly, images, mean over 2"][1]) == pytest.approx(mean, abs=1e-3)
    gan = result.families["gan"]["image_auroc"]
    assert float(rows["gan"][1]) == pytest.approx(gan, abs=1e-3)
    assert "gan: stylegan2" in lines
    assert any(line.startswith("no face in 2 of 40 frames (5.0%)") for line in lines)


def test_what_is_equal_is_said_once(faces):
    one_crop = [i for i in range(len(faces)) if i % 2 == 0]
    fewer = replace(
        faces,
        **{
            name: tuple(getattr(faces, name)[i] for i in one_crop)
            for name in ("paths", "categories", "defect_types", "domains", "origins", "groups")
        },
        **{
            name: getattr(faces, name)[one_crop]
            for name in ("labels", "scores", "has_mask", "maps", "masks")
        },
    )
    names = [row.name for row in level_table(evaluate(fewer)).rows]
    assert names[:2] == ["mono, images = frames", "mono, videos"]
    assert names[-2:] == ["mean, images", "mean, videos"]


def test_runs_without_faces_have_no_such_tables(collected):
    result = evaluate(collected)
    assert list(face_lines(result)) == []
    assert (level_table(result), kind_table(result), family_table(result)) == (None, None, None)


def test_one_kind_alone_is_not_repeated(faces):
    kinds = tuple("fake" if label else "good" for label in faces.labels)
    result = evaluate(replace(faces, defect_types=kinds))
    assert kind_table(result) is None
    assert family_table(result) is None
    assert level_table(result) is not None


def test_tables_of_all_metrics_have_gaps_where_a_category_shows_parts(faces):
    is_mono = [name == "mono" for name in faces.categories]
    both = replace(faces, domains=tuple("industrial" if m else "face" for m in is_mono))
    table = metrics_table(evaluate(both))
    place = table.metrics.index("video_eer")
    values = {name: row[place] for name, row in table.rows}
    assert np.isnan(values["mono"])
    assert values["poly"] == values["mean"]


def test_a_run_directory_keeps_origins_and_groups(faces, collected, write_run):
    run = read_run(write_run(faces))
    assert run.predictions.origins == faces.origins
    assert run.predictions.groups == faces.groups
    assert run.evaluation.counts == evaluate(faces).counts
    some = replace(faces, origins=(None, *faces.origins[1:]), groups=(None, *faces.groups[1:]))
    run = read_run(write_run(some, name="some"))
    assert run.predictions.origins == some.origins
    assert run.predictions.groups == some.groups
    plain = read_run(write_run(collected, name="plain")).predictions
    assert (plain.origins, plain.groups) == ((), ())


def test_the_report_has_a_section_with_intervals_by_group(faces, collected, write_run):
    run = read_run(write_run(faces))
    page = render(run)
    assert '<section id="faces">' in page
    assert "bootstrap intervals over groups of test images (videos or persons)" in page
    assert "mono, videos of sdxl" in page
    found = level_intervals(run)
    low, high = found["video"].per_category["mono"]["video_auroc"]
    assert 0 <= low <= run.evaluation.per_category["mono"]["video_auroc"] <= high <= 1
    assert f"<small>{low:.3f}" in page
    assert render(run) == page
    assert 'id="faces"' not in render(read_run(write_run(collected, name="parts")))
