"""clad ablate: variants of a recipe, trained and tested one after the other, and their table."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest
import yaml
from tiny_recipe import clad, write_part

from clad.cli.ablate import read_variants
from clad.cli.configuration import read_configuration
from clad.reports.ablation import AblationRow, to_text, write_ablation

ROOT = Path(__file__).parents[2]
TABLE_2 = ROOT / "configs" / "ablations" / "clad_table_2.yaml"
RECIPE = ROOT / "configs" / "recipes" / "clad_finetuned.yaml"
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_aupro")
BASE = ("--config", "recipes/tiny.yaml", "--data.root=images", "--trainer.max_epochs=1")
NARROW = {"model": {"adapter": {"init_args": {"hidden_dim": 4}}}}

pytestmark = [
    pytest.mark.usefixtures("workplace"),
    pytest.mark.filterwarnings("ignore"),
]


def variants_file(folder: Path, content: object) -> Path:
    return write_part(folder, "variants", yaml.safe_dump({"variants": content}, sort_keys=False))


def test_each_variant_is_what_fit_and_test_give_and_the_table_shows_it(workplace: Path) -> None:
    part = write_part(workplace, "narrow", NARROW)
    path = variants_file(
        workplace,
        {
            "full": [],
            "narrow, memory of 9": [
                part.name,
                {"model": {"head": {"init_args": {"size": 9}}}},
            ],
        },
    )
    shown = clad("ablate", *BASE, "--variants", path, "--output=table")
    assert shown.status == 0, shown.err
    stored = json.loads(Path("table/ablation.json").read_text())
    assert stored["recipe"] == "tiny"
    assert stored["command"].startswith("clad ablate --config recipes/tiny.yaml")
    assert [each["folder"] for each in stored["variants"]] == ["full", "narrow_memory_of_9"]

    alone = clad("fit", *BASE, "--config", part, "--model.head.init_args.size=9",
                 "--trainer.default_root_dir=alone")  # fmt: skip
    assert alone.status == 0, alone.err
    learning = int(re.match(r"([\d,]+) of", alone.out)[1].replace(",", ""))
    assert clad("test", "--ckpt_path=alone", "--trainer.default_root_dir=alone").status == 0
    expected = json.loads(Path("alone/metrics.json").read_text())["test"]["mean"]
    second = stored["variants"][1]
    assert second["mean"] == pytest.approx(expected)
    assert second["num_learning"] == learning < stored["variants"][0]["num_learning"]
    assert second["seconds"] > 0

    for folder in ("full", "narrow_memory_of_9"):
        written = {each.name for each in (Path("table") / folder).iterdir()}
        assert {"config.yaml", "metrics.json", "run.json", "predictions.parquet"} <= written
        assert "checkpoints" not in written
    table = shown.out[shown.out.index("\nvariant  ") :].splitlines()
    row = next(line for line in table if line.startswith("narrow, memory of 9"))
    cells = row.removeprefix("narrow, memory of 9").split()
    assert [float(cell) for cell in cells[:3]] == pytest.approx(
        [expected[name] for name in COLUMNS], abs=1e-3
    )
    assert cells[-1] == f"{learning:,}"
    assert table[-1] == "results: table"
    with Path("table/ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [each["variant"] for each in rows] == ["full", "narrow, memory of 9"]
    assert float(rows[1]["image_auroc"]) == pytest.approx(expected["image_auroc"])


def test_finished_variants_are_read_back(workplace: Path) -> None:
    first = variants_file(workplace, {"full": []})
    words = ("ablate", *BASE, "--variants", first, "--output=again")
    assert clad(*words).status == 0
    before = json.loads(Path("again/ablation.json").read_text())["variants"]
    second = variants_file(workplace, {"full": [], "narrow": [NARROW]})
    shown = clad("ablate", *BASE, "--variants", second, "--output=again")
    assert shown.status == 0, shown.err
    assert "full: finished earlier, read from again/full" in shown.out
    assert shown.out.count("weights learn") == 1
    after = json.loads(Path("again/ablation.json").read_text())["variants"]
    assert after[0] == before[0]
    assert [each["name"] for each in after] == ["full", "narrow"]
    changed = clad("ablate", *BASE, "--data.seed=7", "--variants", first, "--output=again")
    assert changed.status == 2
    assert "expected the configuration that again/full was made with, got another" in changed.err


REFUSED = {
    "a wrong key in the last variant": (
        {"full": [], "other": [{"model": {"hed": 1}}]},
        (),
        r"expected keys of model among .*, got 'hed'; did you mean head\?",
    ),
    "variants that an option makes alike": (
        {"full": [], "narrow": [NARROW]},
        ("--model.adapter.init_args.hidden_dim=8",),
        r"expected variants that differ, got one configuration for 'full' and 'narrow'; an option",
    ),
    "a directory that is not ours to choose": (
        {"full": []},
        ("--trainer.default_root_dir=here",),
        r"expected no --trainer.default_root_dir, because every variant .* with --output",
    ),
    "weights of another run": (
        {"full": []},
        ("--ckpt_path", "last"),
        r"expected no --ckpt_path, because every variant starts afresh",
    ),
    "a variant that is no list": (
        {"full": {"model": {}}},
        (),
        r"expected a list of overlays .* for 'full' in variants\.yaml, got \{'model': \{\}\}",
    ),
    "names of one folder": (
        {"no loss": [], "No-loss": [NARROW]},
        (),
        r"expected names of variants that differ in letters .* got 'No-loss' and 'no loss'",
    ),
    "a name without letters": ({"-": []}, (), r"got '-' and 'no letter'; rename one"),
    "an overlay that is not there": (
        {"full": ["gone.yaml"]},
        (),
        r"expected a configuration file at gone\.yaml, found none",
    ),
    "no variants": ({}, (), r"expected `variants:` with names and overlays, and nothing else"),
}


@pytest.mark.parametrize(("content", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_answered_before_anything_trains(workplace, content, options, message) -> None:
    path = variants_file(workplace, content).name
    before = {each.name for each in Path("runs").glob("*")} if Path("runs").is_dir() else set()
    shown = clad("ablate", *BASE, "--variants", path, *options)
    assert shown.status == 2
    assert re.search(message, shown.err), shown.err
    assert "weights learn" not in shown.out
    after = {each.name for each in Path("runs").glob("*")} if Path("runs").is_dir() else set()
    assert after == before


def test_a_filled_directory_is_refused(workplace: Path) -> None:
    path = variants_file(workplace, {"full": []})
    shown = clad("ablate", *BASE, "--variants", path, "--output=recipes")
    assert shown.status == 2
    assert "expected a new directory for --output, found files in recipes" in shown.err


def test_a_recipe_and_variants_are_asked_for() -> None:
    assert "the following arguments are required: -c/--config" in clad("ablate").err


def test_undefined_numbers_are_words_on_screen_and_null_in_files(tmp_path: Path) -> None:
    mean = {"image_auroc": 0.75, "pixel_auroc": math.nan, "pixel_aupro": math.nan}
    rows = [AblationRow("full", "full", mean, 61.4, 12345)]
    lines = to_text(rows).splitlines()
    assert lines[2].split() == ["full", "0.750", "undefined", "undefined", "61", "12,345"]
    write_ablation(tmp_path, "tiny", "clad ablate", rows)
    stored = json.loads((tmp_path / "ablation.json").read_text())
    assert stored["variants"][0]["mean"]["pixel_auroc"] is None
    assert (tmp_path / "ablation.csv").read_text().splitlines()[1] == "full,0.75,,,61.4,12345"


class TestTable2:
    """The shipped variants, as the command line reads them."""

    def configurations(self) -> dict[str, dict]:
        found = {}
        for variant in read_variants(TABLE_2):
            words = ["--config", str(RECIPE), "--data.root=images"]
            for overlay in variant.overlays:
                if not isinstance(overlay, Path):
                    overlay = write_part(Path(), "overlay", dict(overlay))
                words += ["--config", str(overlay)]
            found[variant.name] = yaml.safe_load(read_configuration("fit", words))["model"]
        return found

    def test_rows_are_those_of_the_paper_and_change_one_part_each(self) -> None:
        models = self.configurations()
        assert list(models) == [
            "full",
            "without contrastive loss",
            "without fine-tuning",
            "simple CNN encoder",
        ]
        full = models.pop("full")
        changed = {
            name: {key for key in full if model[key] != full[key]} for name, model in models.items()
        }
        assert changed == {
            "without contrastive loss": {"losses"},
            "without fine-tuning": {"tuning"},
            # It starts from random weights, so that all of it has to learn, and faster.
            "simple CNN encoder": {"tower", "tuning", "tower_learning_rate"},
        }
        assert models["simple CNN encoder"]["tuning"]["init_args"] == {
            **full["tuning"]["init_args"],
            "image_blocks": 5,
        }

    def test_only_the_contrastive_loss_is_switched_off(self) -> None:
        models = self.configurations()
        full, without = models["full"]["losses"], models["without contrastive loss"]["losses"]
        assert full[0]["class_path"].endswith("CladContrastive")
        assert full[0]["init_args"]["weight"] > 0
        assert without[0]["init_args"] == {**full[0]["init_args"], "weight": 0.0}
        assert without[1:] == full[1:]

    @pytest.mark.slow
    @pytest.mark.weights
    def test_they_run_on_a_miniature(self) -> None:
        shown = clad(
            "ablate", "--config", RECIPE, "--variants", TABLE_2, "--data.root=images",
            "--output=table_2", "--trainer.max_steps=2", "--data.image_size=64",
            "--model.tower.init_args.image_size=64", "--data.train_batch_size=4",
            "--data.num_workers=0", "--data.source.init_args.validation_fraction=0.6",
        )  # fmt: skip
        assert shown.status == 0, shown.err
        rows = json.loads(Path("table_2/ablation.json").read_text())["variants"]
        counts = [each["num_learning"] for each in rows]
        assert len(counts) == 4
        assert counts[0] == counts[1]
        assert counts[2] < counts[0]
        assert all(each["mean"]["image_auroc"] is not None for each in rows)
