"""Cells and means of the cross-manipulation matrix, computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clad.data.kinds import keep_trained_kinds
from clad.protocols.matrix import Matrix, MatrixRow, auroc_by_kind
from clad.reports.matrix import draw, to_html, to_text
from clad.samples import Sample, Splits


def test_real_images_of_the_kinds_categories_count() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.2, 0.8, 0.6])
    labels = np.array([0, 0, 1, 1, 0, 1])
    kinds = ["good", "good", "a", "b", "good", "c"]
    categories = ["x", "x", "x", "x", "y", "y"]
    found = auroc_by_kind(scores, labels, kinds, categories, ["a", "b", "c", "d"])
    # a: 0.5 against 0.1 and 0.9; b: 0.2 likewise; c: 0.6 against 0.8 alone.
    assert found[:3] == (0.5, 0.5, 0.0)
    assert math.isnan(found[3])


def test_means_are_of_the_diagonal_and_of_the_rest() -> None:
    nan = math.nan
    rows = (
        MatrixRow("a", (0.9, 0.6, nan)),
        MatrixRow("b", (0.5, 0.8, 0.7)),
        MatrixRow("synthesis", (0.4, 0.5, 0.6)),
    )
    matrix = Matrix(("a", "b", "c"), rows)
    assert matrix.mean_seen == pytest.approx((0.9 + 0.8) / 2)
    assert matrix.mean_unseen == pytest.approx((0.6 + 0.5 + 0.7) / 3)
    assert matrix.unseen(rows[0]) == pytest.approx(0.6)
    assert matrix.unseen(rows[2]) == pytest.approx(0.5)
    assert math.isnan(Matrix(("a",), (MatrixRow("a", (0.9,)),)).mean_unseen)
    assert "[0.900]" in to_text(matrix)
    assert "undefined" in to_text(matrix)
    assert to_html(matrix).count('class="seen"') == 2
    frames = [p for p in draw(matrix).axes[0].patches if p.get_edgecolor()[0] == 1]
    assert [(p.get_x(), p.get_y()) for p in frames] == [(-0.5, -0.5), (0.5, 0.5)]


class TestTrainedKinds:
    def splits(self, tmp_path) -> Splits:
        def of(role, kinds):
            return tuple(
                Sample(tmp_path / f"{role}_{n}.png", int(kind != "good"), "face", kind)
                for n, kind in enumerate(kinds)
            )

        return Splits(of("train", ["good", "a", "b", "b"]), of("val", ["good", "a"]),
                      of("test", ["good", "a", "b"]), ("first",))  # fmt: skip

    def test_other_kinds_leave_train_and_validation(self, tmp_path) -> None:
        splits = self.splits(tmp_path)
        found = keep_trained_kinds(splits, ["b"])
        assert [s.defect_type for s in found.train] == ["good", "b", "b"]
        assert [s.defect_type for s in found.validation] == ["good"]
        assert found.test == splits.test
        assert found.notes == ("first", "Anomalies in training: b; 1 of other kinds left out.")

    def test_none_and_nothing(self, tmp_path) -> None:
        splits = self.splits(tmp_path)
        assert keep_trained_kinds(splits, None) is splits
        assert [s.label for s in keep_trained_kinds(splits, []).train] == [0]

    def test_unknown_kinds_are_refused(self, tmp_path) -> None:
        with pytest.raises(ValueError, match=r"anomalies of train, a, b, got c; name others"):
            keep_trained_kinds(self.splits(tmp_path), ["a", "c"])
