"""A ViT image classifier of Hugging Face from a local folder, with its own labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clad.checks import expect_folder
from clad.towers.base import Block, EncoderParts
from clad.towers.classifier import Classifier
from clad.towers.image_only import ImageOnlyTower
from clad.towers.minilm import offline_package
from clad.types import ImageFeatures

_ARCHITECTURE = "ViTForImageClassification"
_HINT = "fetch config.json, preprocessor_config.json and model.safetensors of a checkpoint into it"
_RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""PIL's numbers for interpolation."""


class HfImageClassifierTower(ImageOnlyTower):
    """A fine-tuned ``ViTForImageClassification``; its classifier comes along.

    ``tokens`` are the patches after the chosen blocks; ``summary`` is the class token after the
    last norm, which the checkpoint's classifier reads. Use configs/head/own_classifier.yaml for the
    verdict of the checkpoint itself, or any head that needs no text. Nothing is downloaded.

    Source: ViT (Dosovitskiy et al., ICLR 2021, arXiv:2010.11929) in transformers; such checkpoints
    are prithivMLmods' Deep-Fake-Detector-Model and dima806's deepfake_vs_real_image_detection.

    Args:
        folder: With config.json, preprocessor_config.json and model.safetensors.
        layers: Blocks whose patch tokens come out, 1-based and ascending; None is the last.

    Raises:
        FileNotFoundError: If the folder or a file is not there.
        ImportError: If transformers is missing.
        ValueError: If it holds another architecture, or images are prepared in another way than by
            resizing.
    """

    def __init__(
        self, folder: Path | str | None = None, layers: tuple[int, ...] | None = None
    ) -> None:
        place = expect_folder("folder of the classifier", folder, _HINT)
        config = _read_json(place / "config.json")
        found = config.get("architectures")
        if found != [_ARCHITECTURE]:
            raise ValueError(
                f"expected a checkpoint of {_ARCHITECTURE} in {place}, got {found}; other "
                "architectures read images in other ways"
            )
        pixels = _read_pixels(place / "preprocessor_config.json")
        super().__init__(**pixels)
        transformers = offline_package("transformers", "transformers")
        model: Any = transformers.ViTForImageClassification.from_pretrained(
            place, local_files_only=True
        )
        own = int(model.config.image_size)
        if self.image_size != (own, own):
            raise ValueError(
                f"expected preprocessor_config.json to resize to {own} as config.json says, got "
                f"{self.image_size} in {place}; fetch both files again"
            )
        self.trunk, self.rows = model.vit, model.classifier
        names = model.config.id2label
        self.labels = tuple(str(names[row]) for row in range(self.rows.out_features))
        count = int(model.config.num_hidden_layers)
        self.layers = (count,) if layers is None else tuple(layers)
        if not self.layers or list(self.layers) != sorted(
            set(self.layers) & set(range(1, count + 1))
        ):
            raise ValueError(f"expected layers between 1 and {count}, ascending, got {self.layers}")
        self.summary_dim = self.embed_dim = int(model.config.hidden_size)
        self.token_dims = (self.summary_dim,) * len(self.layers)
        self._patch = int(model.config.patch_size)
        self.freeze()

    def encode_pixels(self, pixels: Tensor) -> ImageFeatures:
        """Tokens of the chosen blocks (B, P, C), and the normed class token."""
        output = self.trunk(pixels, output_hidden_states=True)
        grid = (pixels.shape[-2] // self._patch, pixels.shape[-1] // self._patch)
        tokens = tuple(output.hidden_states[layer][:, 1:] for layer in self.layers)
        return ImageFeatures(tokens, (grid,) * len(tokens), summary=output.last_hidden_state[:, 0])

    def classifier(self) -> Classifier:
        """The checkpoint's own, with its labels in its order."""
        return Classifier(self.labels, self.rows.weight, self.rows.bias)

    def image_parts(self) -> EncoderParts:
        """The transformer blocks; then the last norm."""
        blocks = next(part for part in self.trunk.modules() if isinstance(part, nn.ModuleList))
        return EncoderParts(
            tuple(Block(block, self.summary_dim) for block in blocks),
            tuple(self.trunk.layernorm.parameters()),
        )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"expected {path.name} at {path}, found none; {_HINT}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}, got {error}; fetch it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object in {path}, got a list; fetch it again")
    return found


def _read_pixels(path: Path) -> dict[str, Any]:
    """Size, mean, standard deviation and interpolation.

    Raises:
        ValueError: If images are to be cropped, or a key is missing.
    """
    config = _read_json(path)
    size = config.get("size")
    sides = {"height": size, "width": size} if isinstance(size, int) else size or {}
    height, width = sides.get("height"), sides.get("width")
    how = _RESAMPLING.get(config.get("resample", -1))
    mean, std = config.get("image_mean"), config.get("image_std")
    if config.get("do_center_crop") or None in (height, width, how, mean, std):
        raise ValueError(
            "expected size with height and width, resample 2 or 3, image_mean and image_std, and "
            f"no do_center_crop, got others in {path}; only plain resizing is known"
        )
    return {"image_size": (height, width), "mean": mean, "std": std, "interpolation": how}
