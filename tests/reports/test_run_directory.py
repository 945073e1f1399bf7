from __future__ import annotations

import json

import numpy as np
import pytest

from clad.metrics.evaluate import evaluate
from clad.reports.files import write_atomically, write_json
from clad.reports.run_card import package_versions
from clad.reports.run_directory import read_run

FILES = {"config.yaml", "run.json", "data.json", "metrics.json", "predictions.parquet"}


def test_what_was_written_is_read_back(collected, write_run):
    path = write_run(collected)
    assert {file.name for file in path.iterdir()} == {*FILES, "gallery.npz"}
    run = read_run(path)
    assert run.predictions.paths == collected.paths
    assert run.predictions.categories == collected.categories
    assert run.predictions.defect_types == collected.defect_types
    np.testing.assert_array_equal(run.predictions.scores, collected.scores)
    np.testing.assert_array_equal(run.predictions.labels, collected.labels)
    np.testing.assert_array_equal(run.predictions.parts["memory"], collected.parts["memory"])
    assert run.evaluation.mean["image_auroc"] == evaluate(collected).mean["image_auroc"]
    assert run.card["threshold"]["mono"] == run.predictions.thresholds[0]
    assert run.card["seed"] == 0
    assert run.card["seconds"] == {"fit": 41.2, "test": 9.8}
    assert run.data["source"] == "tiny"
    assert run.gallery.images.shape[1:] == (64, 64, 3)
    assert "<memory" in run.config


def test_metrics_have_the_agreed_shape_and_other_stages_stay(collected, write_run):
    path = write_run(collected)
    stored = json.loads((path / "metrics.json").read_text())
    assert set(stored["test"]) == {"mean", "per_category", "undefined", "left_out"}
    assert set(stored["test"]["per_category"]) == {"mono", "poly"}
    write_json(path / "metrics.json", {**stored, "validate": {"mean": {}}})
    write_run(collected)
    assert set(json.loads((path / "metrics.json").read_text())) == {"test", "validate"}


def test_no_thresholds_and_no_maps(image_only, write_run):
    run = read_run(write_run(image_only, thresholds=None))
    assert run.card["threshold"] is None
    assert np.isnan(run.predictions.thresholds).all()
    assert np.isnan(run.evaluation.mean["pixel_auroc"])
    assert run.gallery.maps is None


@pytest.mark.parametrize("name", ["metrics.json", "run.json", "predictions.parquet"])
def test_a_missing_file_is_named(collected, write_run, name):
    path = write_run(collected)
    (path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"expected {name} in .*run `clad test` first"):
        read_run(path)


def test_config_data_and_gallery_may_be_missing(collected, write_run):
    path = write_run(collected)
    for name in ("config.yaml", "data.json", "gallery.npz"):
        (path / name).unlink()
    run = read_run(path)
    assert (run.config, run.data, run.gallery) == (None, None, None)


def test_broken_or_foreign_files_are_refused(collected, write_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a run directory at .*nowhere"):
        read_run(tmp_path / "nowhere")
    path = write_run(collected)
    whole = (path / "metrics.json").read_text()
    (path / "metrics.json").write_text(whole[:40])
    with pytest.raises(ValueError, match=r"expected JSON in .*metrics\.json"):
        read_run(path)
    (path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match="expected the key `test`"):
        read_run(path)
    (path / "metrics.json").write_text(whole.replace('"mono"', '"other"'))
    with pytest.raises(ValueError, match="one set of categories"):
        read_run(path)
    (path / "metrics.json").write_text(whole)
    (path / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="expected Parquet in"):
        read_run(path)


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"seed": 1})

    def fail(temporary):
        temporary.write_text("{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert json.loads(path.read_text()) == {"seed": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "run.json", {"value": float("nan")})


def test_versions_name_python_clad_and_torch():
    assert {"python", "clad", "torch", "numpy"} <= set(package_versions())
