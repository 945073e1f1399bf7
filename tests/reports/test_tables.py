from __future__ import annotations

import csv
import io
import math

import pytest

from clad.metrics.evaluate import Evaluation
from clad.reports.tables import format_fraction, metrics_table, to_csv, to_markdown, to_text

EVALUATION = Evaluation(
    per_category={
        "mono": {"image_auroc": 0.9876543, "pixel_auroc": math.nan, "pixel_ap": math.nan},
        "poly|si": {"image_auroc": 0.5, "pixel_auroc": 0.25, "pixel_ap": math.nan},
    },
    mean={"image_auroc": 0.74382715, "pixel_auroc": 0.25, "pixel_ap": math.nan},
    undefined=("pixel_auroc of mono: no masks",),
    left_out={"image_auroc": 0, "pixel_auroc": 1, "pixel_ap": 2},
)


def test_text_is_aligned_with_the_mean_last():
    lines = to_text(metrics_table(EVALUATION)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["category", "image_auroc", "pixel_auroc"]
    assert lines[2].split() == ["mono", "0.988", "undefined"]
    assert lines[-1].split() == ["mean", "0.744", "0.250"]


def test_columns_undefined_everywhere_are_left_out_unless_asked_for():
    assert metrics_table(EVALUATION).metrics == ("image_auroc", "pixel_auroc")
    table = metrics_table(EVALUATION, ["pixel_ap", "image_auroc"])
    assert table.metrics == ("pixel_ap", "image_auroc")
    assert table.rows[-1][0] == "mean"
    with pytest.raises(ValueError, match=r"got \['image_eer'\]"):
        metrics_table(EVALUATION, ["image_eer"])


def test_markdown_escapes_pipes_and_marks_the_mean():
    lines = to_markdown(metrics_table(EVALUATION)).splitlines()
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[3] == r"| poly\|si | 0.500 | 0.250 |"
    assert lines[4] == "| **mean** | **0.744** | **0.250** |"


def test_csv_keeps_all_digits():
    rows = list(csv.reader(io.StringIO(to_csv(metrics_table(EVALUATION)))))
    assert rows[0] == ["category", "image_auroc", "pixel_auroc"]
    assert rows[1] == ["mono", "0.9876543", ""]
    assert float(rows[-1][1]) == EVALUATION.mean["image_auroc"]


def test_wide_letters_keep_the_columns_aligned():
    wide = Evaluation({"単結晶": {"image_auroc": 1.0}}, {"image_auroc": 1.0}, (), {})
    header, *_, last = to_text(metrics_table(wide)).splitlines()
    row = to_text(metrics_table(wide)).splitlines()[2]
    assert len(header) == len(last) == len(row) + 3


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "undefined"), (1.0, "1.000"), (0.99996, "0.999"), (0.0, "0.000")]
)
def test_a_fraction_reads_one_only_if_it_is_one(value, text):
    assert format_fraction(value) == text


def test_means_of_domains_stand_between_the_rule_and_the_mean():
    both = Evaluation(
        {"nut": {"image_auroc": 0.5}, "face": {"image_auroc": 1.0}},
        {"image_auroc": 0.75},
        (),
        {},
        per_domain={"industrial": {"image_auroc": 0.5}, "face": {"image_auroc": 1.0}},
        domain_of={"nut": "industrial", "face": "face"},
    )
    lines = to_text(metrics_table(both)).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "nut", "face", lines[1], "mean industrial", "mean face", "mean",
    ]  # fmt: skip
    bold = [line for line in to_markdown(metrics_table(both)).splitlines() if "**" in line]
    assert bold[0] == "| **mean industrial** | **0.500** |"
    assert len(bold) == 3
