"""Small recipes around the fake tower and folders of textures, for the detector and its verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from clad.data.tiny import defective_texture, normal_texture

MEMORY = {
    "class_path": "clad.heads.normal_memory.NormalMemory",
    "init_args": {"size": 64, "sigma_px": 1.0},
}
PATCH_TEXT = {"class_path": "clad.heads.patch_text.PatchText", "init_args": {"sigma_px": 1.0}}
DESCRIPTIONS = {"class_path": "clad.prompts.defect_descriptions.DefectDescriptions"}
FOCAL = {"class_path": "clad.losses.patch_focal.PatchFocal"}
PROJECTION = {
    "class_path": "clad.adapters.token_projection.TokenProjection",
    "init_args": {"hidden_dim": 8},
}


def write_recipe(path: Path, head: dict[str, Any], aligned: bool = True, **model: Any) -> Path:
    """A recipe with this head; prompts, adapter and losses as given."""
    tower = {"class_path": "fakes.FakeTower", "init_args": {"aligned": aligned, "seed": 3}}
    content = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_val_batches": 0},
        "model": {"tower": tower, "head": head, **model},
        "data": {
            "source": {
                "class_path": "clad.data.folder.Folder",
                "init_args": {"validation_fraction": 0.6},
            },
            "image_size": 32,
            "num_workers": 0,
            "synthesis": {"class_path": "clad.synthesis.blobs.Blobs"},
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


def write_textures(
    folder: Path,
    count: int,
    seed: int = 0,
    defective: bool = False,
    size: tuple[int, int] = (64, 64),
) -> list[Path]:
    """``000.png`` and so on; (height, width) of up to 64 x 64."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        image = defective_texture(rng)[0] if defective else normal_texture(rng)
        paths.append(folder / f"{number:03d}.png")
        Image.fromarray(image[: size[0], : size[1]]).save(paths[-1])
    return paths
