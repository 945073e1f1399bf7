"""A CLIP of a few thousand weights (its vocabulary aside), as config and as file."""

from __future__ import annotations

import copy

import torch
from safetensors.torch import save_file

from clad.towers.open_clip import OpenClipTower

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}
TEXTS = ["a photo", "a photo of a broken metal nut with a deep scratch"]


def tiny(**changes):
    """A config with other entries; ``vision_`` and ``text_`` entries go into those parts."""
    config = copy.deepcopy(TINY)
    for key, value in changes.items():
        part, _, name = key.partition("_")
        if part in ("vision", "text") and name != "cfg":
            config[f"{part}_cfg"][name] = value
        else:
            config[key] = value
    return config


def save_tiny(path, config=None, **extras):
    state = OpenClipTower(config or tiny(), "random", random_seed=7).model.state_dict()
    state.update(extras)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path
