from __future__ import annotations

import sys
from collections import Counter

import pytest

from clad.data.solar_cells import SolarCells
from clad.data.splits import check_disjoint
from clad.data.textile import Textile


@pytest.fixture
def cells(tmp_path):
    SolarCells().write_tiny(tmp_path)
    return tmp_path


def counts(samples):
    return Counter((s.category, s.label) for s in samples)


def test_solar_cells_of_a_root(cells):
    splits = SolarCells(num_train=6, num_validation=2).list_samples(cells, "all", seed=0)
    check_disjoint(splits)
    assert counts(splits.train) == {("mono", 0): 6, ("poly", 0): 6}
    assert counts(splits.validation) == {("mono", 0): 2, ("poly", 0): 2}
    assert counts(splits.test) == {
        ("mono", 0): 4, ("mono", 1): 5, ("poly", 0): 4, ("poly", 1): 5
    }  # fmt: skip
    assert {s.defect_type for s in splits.test} == {"good", "defective"}
    assert all(s.mask_path is None for s in splits.test)


@pytest.mark.parametrize(
    ("ambiguous", "normal", "anomalous"),
    [("exclude", 12, 5), ("anomalous", 12, 9), ("rounded", 14, 7)],
)
def test_solar_cells_ambiguous_probabilities(cells, ambiguous, normal, anomalous):
    source = SolarCells(num_train=6, num_validation=2, ambiguous=ambiguous)
    splits = source.list_samples(cells, ["poly"], seed=0)
    everything = (*splits.train, *splits.validation, *splits.test)
    assert counts(everything) == {("poly", 0): normal, ("poly", 1): anomalous}
    left_out = [note for note in splits.notes if "left out" in note]
    assert bool(left_out) == (ambiguous == "exclude")


def test_solar_cells_anomalies_move_out_of_test(cells):
    source = SolarCells(6, 2, train_anomalies=2, validation_anomalies=1)
    splits = source.list_samples(cells, "all", seed=0)
    check_disjoint(splits)
    assert counts(splits.train) == {
        ("mono", 0): 6, ("mono", 1): 2, ("poly", 0): 6, ("poly", 1): 2
    }  # fmt: skip
    assert counts(splits.validation)[("mono", 1)] == 1
    assert counts(splits.test)[("mono", 1)] == 2


def test_solar_cells_split_of_one_type_does_not_depend_on_the_other(cells):
    together = SolarCells(6, 2).list_samples(cells, "all", seed=5)
    alone = SolarCells(6, 2).list_samples(cells, ["mono"], seed=5)
    assert alone.train == tuple(s for s in together.train if s.category == "mono")


def test_solar_cells_of_a_small_root_are_shared_out_with_a_note(cells):
    splits = SolarCells().list_samples(cells, "all", seed=0)
    assert counts(splits.train)[("mono", 0)] == 8
    assert counts(splits.test)[("mono", 0)] == 2
    assert any("shared in proportion" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/cell0001.png 0.5", r"`name probability type` .* in line 1 of .*labels\.csv"),
        ("images/cell0001.png 1.5 mono", r"a probability in \[0, 1\]"),
        (
            "images/cell0001.png 0.0 thin",
            r"type mono or poly, got 'images/cell0001\.png 0\.0 thin'",
        ),
        ("../cell0001.png 0.0 mono", r"a path inside .*got '\.\./cell0001\.png' in line 1"),
    ],
)
def test_solar_cells_bad_line_is_named(cells, line, message):
    (cells / "labels.csv").write_text(line)
    with pytest.raises(ValueError, match=message):
        SolarCells().list_samples(cells, "all", seed=0)


def test_solar_cells_missing_files_are_named(cells):
    (cells / "images/cell0003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"nothing for 1: .*cell0003\.png"):
        SolarCells().list_samples(cells, "all", seed=0)
    (cells / "labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected labels\.csv in"):
        SolarCells().list_samples(cells, "all", seed=0)


@pytest.mark.parametrize(
    ("source", "package"),
    [(SolarCells(), "elpv_dataset"), (Textile(), "conformal_clip_data")],
)
def test_absent_package_says_what_to_install(monkeypatch, source, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'clad-anomaly\[offline\]'"):
        source.list_samples(None, "all", seed=0)


def test_textile_of_a_root(tmp_path):
    Textile().write_tiny(tmp_path)
    splits = Textile(num_train=6, num_validation=2).list_samples(tmp_path, "all", seed=0)
    check_disjoint(splits)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [6, 2, 12]
    assert Counter(s.defect_type for s in splits.test) == {"good": 4, "local": 4, "global": 4}
    with pytest.raises(ValueError, match=r"one of textile; got 'fabric'"):
        Textile().list_samples(tmp_path, ["fabric"], seed=0)
    with pytest.raises(FileNotFoundError, match=r"expected images in .*nominal/nominal"):
        Textile().list_samples(tmp_path / "nominal", "all", seed=0)


@pytest.mark.weights
def test_solar_cells_of_the_package_have_the_published_counts():
    splits = SolarCells(ambiguous="anomalous").list_samples(None, "all", seed=0)
    everything = (*splits.train, *splits.validation, *splits.test)
    assert len(everything) == 2624
    splits = SolarCells().list_samples(None, "all", seed=0)
    assert counts(splits.test) == {
        ("mono", 0): 338, ("mono", 1): 313, ("poly", 0): 670, ("poly", 1): 402
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"more than 600 \+ 50 images .* got 588"):
        SolarCells(num_train=600).list_samples(None, ["mono"], seed=0)


@pytest.mark.weights
def test_textile_of_the_package_has_the_published_counts():
    splits = Textile().list_samples(None, "all", seed=0)
    assert [len(splits.train), len(splits.validation)] == [300, 100]
    assert Counter(s.defect_type for s in splits.test) == {"good": 600, "local": 500, "global": 500}
