"""A fake detector of faces, scenes with faces that it finds, and a trained run on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from scipy import ndimage

from clad.faces.base import DetectedFace, FaceDetector

FACE_PX = 24
SCENE = (64, 96)


class MarkedFaces(FaceDetector):
    """Bright squares are faces; a file whose name says so has none."""

    def detect(self, image, path=None):
        labelled, _ = ndimage.label(ndimage.uniform_filter(image.mean(axis=2), 3) > 110)
        faces = []
        for rows, columns in ndimage.find_objects(labelled):
            side = rows.stop - rows.start
            if side < FACE_PX // 2 or (path is not None and "nobody" in path.name):
                continue
            box = (rows.start, columns.start, rows.stop, columns.stop)
            points = [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.8), (0.7, 0.8)]
            landmarks = np.array(
                [(box[1] + x * side, box[0] + y * side) for x, y in points], np.float32
            )
            faces.append(DetectedFace(tuple(map(float, box)), 0.9, landmarks))
        return tuple(sorted(faces, key=lambda face: face.box[0] - face.box[2]))


def scene(*fakes: bool, seed: int = 0) -> np.ndarray:
    """(64, 96, 3) dark room with a face per argument; fake ones have a dark bar across."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 30, (*SCENE, 3)).astype(np.uint8)
    for number, is_fake in enumerate(fakes):
        top, left = 12 + 8 * number, 10 + 44 * number
        face = rng.integers(170, 200, (FACE_PX + 4 * number, FACE_PX + 4 * number, 3))
        if is_fake:
            face[8:14, 6:18] = (255, 130, 140)
        image[top : top + len(face), left : left + len(face)] = face
    return image


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_detector(path: Path) -> Path:
    path.write_text("detector:\n  class_path: marked_faces.MarkedFaces\n")
    return path


def write_crops(folder: Path, count: int = 24) -> Path:
    """``real/`` and ``fake/`` crops of such faces."""
    from clad.faces.crop import crop_face

    for kind in ("real", "fake"):
        for seed in range(count):
            image = scene(kind == "fake", seed=seed)
            (face,) = MarkedFaces().detect(image)
            save(folder / kind / f"{seed:03d}.png", crop_face(image, face, 64).image)
    return folder


def write_face_recipe(path: Path) -> Path:
    """Nearest normal patches of real crops; it trains in a moment and has a threshold."""
    content = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_val_batches": 0},
        "model": {
            "tower": {"class_path": "fakes.FakeTower", "init_args": {"seed": 3}},
            "head": {
                "class_path": "clad.heads.normal_memory.NormalMemory",
                "init_args": {"size": 200, "sigma_px": 1.0},
            },
        },
        "data": {
            "source": {
                "class_path": "clad.data.real_fake.RealFake",
                "init_args": {"validation_fraction": 0.5, "train_on_fakes": False},
            },
            "image_size": 32,
            "num_workers": 0,
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path
