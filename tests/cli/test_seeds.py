"""--seeds: trainings that differ in their seed, and the table of all."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_recipe import Shown, clad, write_part, write_recipe

from clad.data.tiny import save_category
from clad.reports.run_directory import read_run

BASE = ("--config", "recipes/words.yaml", "--data.root=images", "--trainer.max_epochs=1")

pytestmark = [
    pytest.mark.usefixtures("workplace"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", autouse=True)
def _recipe(workplace: Path) -> None:
    """A recipe whose scores depend on what learns."""
    path = write_recipe(workplace, "words")
    content = yaml.safe_load(path.read_text())
    content["model"]["head"] = {"class_path": "clad.heads.patch_text.PatchText"}
    path.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def shown(_recipe: None) -> Shown:
    found = clad("fit", "--seeds", "0,3", *BASE, "--output=seeds")
    assert found.status == 0, found.err
    return found


def stored(folder: str = "seeds") -> dict:
    return json.loads(Path(folder, "seeds.json").read_text())


def test_each_seed_is_a_tested_run_and_the_table_sums_them_up(shown: Shown) -> None:
    runs = [read_run(Path("seeds", name)) for name in ("seed_0", "seed_3")]
    assert [run.card["seed"] for run in runs] == [0, 3]
    assert all(Path(run.path, "checkpoints/last.ckpt").is_file() for run in runs)
    found = stored()
    assert (found["vary"], found["seeds"], found["recipe"]) == ("training", [0, 3], "words")
    values = [run.evaluation.mean["pixel_auroc"] for run in runs]
    assert found["mean"]["pixel_auroc"]["values"] == values
    assert found["mean"]["pixel_auroc"]["std"] == pytest.approx(statistics.stdev(values))
    text = shown.out[shown.out.index("\npixel_auroc") :].splitlines()
    mean = next(line.split() for line in text if line.startswith("mean"))
    assert float(mean[1]) == pytest.approx(statistics.mean(values), abs=1e-3)
    assert mean[-1] == "2"
    assert shown.out.splitlines()[-1] == "results: seeds"
    assert "| mean ± std |" in Path("seeds/seeds.md").read_text()


def test_seeds_of_training_keep_the_data_and_change_the_weights(shown: Shown) -> None:
    first, second = (read_run(Path("seeds", name)) for name in ("seed_0", "seed_3"))
    assert first.data == second.data
    assert (first.predictions.scores != second.predictions.scores).any()
    configs = [yaml.safe_load(run.config) for run in (first, second)]
    assert [config["seed_everything"] for config in configs] == [0, 3]
    assert [config["data"]["seed"] for config in configs] == [0, 3]
    assert [config["data"]["split_seed"] for config in configs] == [42, 42]


def test_one_seed_is_what_fit_and_test_give(shown: Shown) -> None:
    place = "--trainer.default_root_dir=alone"
    assert (
        clad(
            "fit", *BASE, "--seed_everything=3", "--data.seed=3", "--data.split_seed=42", place
        ).status
        == 0
    )
    assert clad("test", "--ckpt_path=alone", place).status == 0
    one, other = read_run(Path("alone")), read_run(Path("seeds/seed_3"))
    assert one.evaluation == other.evaluation
    compared = clad("compare", "seeds/seed_0", "seeds/seed_3", "--resamples=50")
    assert compared.status == 0, compared.err
    assert "warning: the seeds differ: 0 / 0 and 3 / 3" in compared.out


def test_vary_all_changes_the_split_and_finished_seeds_are_read_back(shown: Shown) -> None:
    refused = clad("fit", "--seeds=0,1", "--vary=all", *BASE, "--output=seeds")
    assert refused.status == 2
    assert "configuration that seeds/seed_0 was made with, got another" in refused.err
    assert len(stored()["runs"]) == 2
    words = ("fit", "--vary=all", *BASE, "--output=splits")
    assert clad(*words, "--seeds=0").status == 0
    more = clad(*words, "--seeds=0,1")
    assert more.status == 0, more.err
    assert "seed 0: finished earlier, read from splits/seed_0" in more.out
    assert "also splits and shots" in more.out
    first, second = (read_run(Path("splits", name)) for name in ("seed_0", "seed_1"))
    assert first.data["sha256"] != second.data["sha256"]
    assert yaml.safe_load(second.config)["data"]["seed"] == 1


def test_an_unfinished_training_is_not_taken_for_a_result(shown: Shown) -> None:
    path = Path("cut/seed_1/checkpoints/last.ckpt")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    Path("cut/seeds.json").write_text("{}")
    found = clad("fit", "--seeds=0,1", *BASE, "--output=cut")
    assert found.status == 2
    assert re.search(r"finished run or none in cut/seed_1, found .*last\.ckpt .* remove", found.err)
    assert not Path("cut/seed_0").exists()


def test_ablation_shows_mean_and_deviation_of_each_variant(workplace: Path) -> None:
    variants = {"full": [], "narrow": [{"model": {"adapter": {"init_args": {"hidden_dim": 4}}}}]}
    path = write_part(workplace, "variants", yaml.safe_dump({"variants": variants}))
    found = clad("ablate", *BASE, "--variants", path, "--seeds=0,1", "--output=table")
    assert found.status == 0, found.err
    rows = json.loads(Path("table/ablation.json").read_text())["variants"]
    assert [row["seeds"] for row in rows] == [[0, 1], [0, 1]]
    for row in rows:
        runs = [read_run(Path("table", row["folder"], f"seed_{seed}")) for seed in (0, 1)]
        values = [run.evaluation.mean["pixel_auroc"] for run in runs]
        assert row["mean"]["pixel_auroc"] == pytest.approx(statistics.mean(values))
        assert row["std"]["pixel_auroc"] == pytest.approx(statistics.stdev(values))
        assert stored(f"table/{row['folder']}")["mean"]["pixel_auroc"]["values"] == values
    assert re.search(r"^narrow +\d\.\d{3} ± 0\.\d{3} ", found.out, re.MULTILINE), found.out
    header = Path("table/ablation.csv").read_text().splitlines()[0]
    assert header.endswith("image_auroc_std,pixel_auroc_std,pixel_aupro_std,seconds,num_learning")


def test_protocol_takes_seeds(workplace: Path) -> None:

    for number, name in enumerate(("left", "right")):
        save_category(workplace / name, np.random.default_rng(number))
    found = clad("protocol", "folders", "--seeds=0,1", *BASE[:2], "--auxiliary=left",
                 "--target=right", "--trainer.max_epochs=1", "--output=transfer")  # fmt: skip
    assert found.status == 0, found.err
    runs = [read_run(Path("transfer", name)) for name in ("seed_0", "seed_1")]
    assert [run.card["protocol"]["name"] for run in runs] == ["folders", "folders"]
    assert stored("transfer")["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("test", "--seeds=0,1"), r"no --seeds for `clad test`, which trains nothing; `clad fit"),
        (("fit", "--seeds=0,0", *BASE), r"different whole numbers from 0 .* got '0,0'; write for"),
        (("fit", "--seeds=a", *BASE), r"different whole numbers from 0 to .* got 'a'"),
        (("fit", "--seeds=0,", *BASE), r"different whole numbers from 0 to .* got '0,'"),
        (("fit", "--seeds=0", "--vary=split", *BASE), r"--vary to be training or all, got 'split'"),
        (
            ("fit", "--seeds=0", "--seed_everything=2", *BASE),
            r"expected no --seed_everything besid",
        ),
        (("fit", "--seeds=0", "--vary=all", "--data.seed=2", *BASE), r"expected no --data.seed be"),
        (
            ("fit", "--seeds=0", "--ckpt_path=x", *BASE),
            r"expected no --ckpt_path, because every se",
        ),
        (
            ("fit", "--seeds=0", "--output=images", *BASE),
            r"new directory for --output, found files",
        ),
        (("matrix", "--seeds=0", *BASE), r"no --seeds, because this table is of one training per"),
        (
            ("fit", "--seeds=0,1", *BASE, "--data.imagge_size=64"),
            r"did you mean --data\.image_size",
        ),
    ],
)
def test_mistakes_are_answered(words: tuple[str, ...], message: str) -> None:
    found = clad(*words)
    assert found.status == 2
    assert re.search(message, found.err), found.err
