"""A ViT classifier of a few thousand weights, as the folder that Hugging Face saves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def write_vit(folder: Path, labels: Sequence[str] = ("Real", "Fake"), **pixels: Any) -> Any:
    """The saved model; ``pixels`` changes preprocessor_config.json."""
    from transformers import ViTConfig, ViTForImageClassification

    names = dict(enumerate(labels))
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        id2label=names,
        label2id={name: row for row, name in names.items()},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViTForImageClassification(config).eval()
        torch.nn.init.normal_(model.classifier.weight)
        torch.nn.init.normal_(model.classifier.bias)
    model.save_pretrained(folder)
    content = {
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content | pixels))
    return model
