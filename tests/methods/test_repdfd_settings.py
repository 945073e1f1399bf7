"""What the configurations of RepDFD hold: published settings, and the rows of its tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clad.cli.ablate import read_variants
from clad.cli.configuration import read_configuration

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPE = CONFIGS / "recipes" / "repdfd.yaml"
TABLES = sorted((CONFIGS / "ablations").glob("repdfd_*.yaml"))


def test_the_recipe_keeps_the_published_settings():
    content = yaml.safe_load(RECIPE.read_text())
    model, data = content["model"], content["data"]
    tower, prompts = model["tower"]["init_args"], model["prompts"]["init_args"]
    assert (tower["model_name"], tower["pretrained"]) == ("ViT-L-14", "laion400m_e32")
    assert (tower["image_size"], model["inputs"]["init_args"]["padding"]) == (224, 34)
    assert (prompts["real"], prompts["fake"], prompts["mapping"]) == ("T0", "T3", "random_linear")
    assert (content["seed_everything"], data["seed"]) == (7, 7)
    assert content["trainer"]["max_epochs"] == 100
    assert (data["train_batch_size"], data["test_batch_size"]) == (32, 128)
    assert model["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert model["optimizer"]["init_args"] == {"lr": 1.0, "weight_decay": 0.0}
    assert model["head"]["init_args"]["output"] == "probability"


def test_padding_of_the_laptop_recipe_leaves_whole_tokens():
    model = yaml.safe_load((RECIPE.parent / "faces_border.yaml").read_text())["model"]
    padding = model["inputs"]["init_args"]["padding"]
    assert all(padding % stride == 0 for stride in model["tower"]["init_args"]["strides"])


PUBLISHED_ROWS = {
    "repdfd_figure_5": ["none", "ArcFace", "BlendFace", "TransFace"],
    "repdfd_table_5": ["random text", "T0 and T1", "T2 and T3", "T2 and T1", "T0 and T3"],
    "repdfd_table_8": [f"padding {p}" for p in (12, 23, 34, 45, 56, 67, 78)],
}


def test_ablations_have_the_published_rows():
    rows = {path.stem: [v.name for v in read_variants(path)] for path in TABLES}
    assert rows == PUBLISHED_ROWS


@pytest.mark.slow
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_variants_are_read_by_the_command_line_and_differ(path, tmp_path):
    found = {}
    for number, variant in enumerate(read_variants(path)):
        words = ["--config", str(RECIPE)]
        for overlay in variant.overlays:
            file = tmp_path / f"{number}.yaml"
            file.write_text(yaml.safe_dump(dict(overlay)))
            words += ["--config", str(file)]
        content = yaml.safe_load(read_configuration("fit", [*words, "--data.root=images"]))
        model = content["model"]
        prompts = model["prompts"].get("init_args", {})
        encoder = prompts.get("encoder") or {"init_args": {"weights": None}}
        found[variant.name] = (
            model["prompts"]["class_path"].rpartition(".")[2],
            prompts.get("real"),
            prompts.get("fake"),
            encoder["init_args"]["weights"],
            model["inputs"]["init_args"]["padding"],
        )
    assert list(found) == PUBLISHED_ROWS[path.stem]
    assert len(set(found.values())) == len(found)
    kind, own = "Face2Text", ("T0", "T3")
    assert found.get("T2 and T1", (kind, "T2", "T1", None, 34)) == (kind, "T2", "T1", None, 34)
    assert found.get("random text", ("RandomPair",))[0] == "RandomPair"
    assert found.get("padding 78", (kind, *own, None, 78)) == (kind, *own, None, 78)
    assert found.get("ArcFace", (kind, *own, "arcface.onnx", 34))[3] == "arcface.onnx"
