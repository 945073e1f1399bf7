"""Real and forged pictures in folders, two kinds of forgery, and a recipe that learns labels."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import yaml
from tiny_recipe import write_recipe

from clad.data.tiny import defective_texture, normal_texture, save

KINDS = ("swap", "blend")


def write_faces(root: Path, num_train: int = 6, num_test: int = 4, seed: int = 0) -> Path:
    """train/ and test/ with real/ and fake/KIND/, in PNG; ``swap`` is dark, ``blend`` bright."""
    for split, count in (("train", num_train), ("test", num_test)):
        rng = np.random.default_rng((seed, zlib.crc32(split.encode())))
        for i in range(2 * count):
            save(normal_texture(rng, kind=2), root / split / "real" / f"{i:03d}.png")
        for kind in KINDS:
            for i in range(count):
                image, _ = defective_texture(rng, kind=2, is_dark=kind == "swap")
                save(image, root / split / "fake" / kind / f"{i:03d}.png")
    return root


def write_face_recipe(folder: Path, name: str = "faces") -> Path:
    """``recipes/NAME.yaml``: words against images, learned from the labels of folders."""
    path = write_recipe(folder, name)
    content = yaml.safe_load(path.read_text())
    content["trainer"]["max_epochs"] = 1
    content["model"]["head"] = {"class_path": "clad.heads.image_text.ImageText"}
    content["model"]["losses"] = [
        {"class_path": "clad.losses.image_cross_entropy.ImageCrossEntropy"}
    ]
    content["data"]["source"] = {
        "class_path": "clad.data.real_fake.RealFake",
        "init_args": {"validation_fraction": 0.5},
    }
    del content["data"]["synthesis"]
    path.write_text(yaml.safe_dump(content))
    return path
