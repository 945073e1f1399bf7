"""open_clip architectures: a name, JSON file or mapping -> a model with random weights."""

from __future__ import annotations

import copy
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import HFTokenizer
from open_clip.transformer import LayerNormFp32


@dataclass(frozen=True)
class Architecture:
    """What to build.

    Args:
        name: For messages; for a listed architecture the key of its weights.
        config: open_clip's model config.
        preprocess: Pixel statistics that came with the config; empty if none did.
        is_listed: Whether open_clip ships this architecture (and may know weights for it).
    """

    name: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    is_listed: bool


def read_architecture(model: str | dict[str, Any], force_quick_gelu: bool = False) -> Architecture:
    """The architecture of that name, JSON file or mapping.

    Raises:
        FileNotFoundError: If the JSON file is not there.
        ValueError: If the name is unknown (with close matches), the config lacks a part, or it is
            not a two-tower model.
    """
    preprocess: dict[str, Any] = {}
    if isinstance(model, dict):
        name, config = "the given config", copy.deepcopy(model)
    elif model.endswith(".json"):
        name, config = model, _read_json(Path(model))
        preprocess = config.get("preprocess_cfg", {})
        config = config.get("model_cfg", config)
    else:
        name, config = model, open_clip.get_model_config(model)
        if config is None:
            close = difflib.get_close_matches(model, open_clip.list_models(), n=5, cutoff=0.5)
            hint = f"close names are {', '.join(close)}" if close else "see open_clip.list_models()"
            raise ValueError(f"expected an open_clip architecture, got {model!r}; {hint}")
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise ValueError(
            f"expected embed_dim, vision_cfg and text_cfg in {name}, got none of {missing}; "
            "write it like open_clip's model_configs/*.json"
        )
    if "multimodal_cfg" in config:
        raise ValueError(
            f"expected an image and a text tower, got {name} with a caption decoder (CoCa), whose "
            "patches have no place in text space; choose another architecture, e.g. ViT-B-32"
        )
    if force_quick_gelu:
        config["quick_gelu"] = True
    return Architecture(name, config, preprocess, is_listed=name in open_clip.list_models())


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"expected a JSON model config, found no file at {path}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON in {path}, got {error}; correct the file") from error
    if not isinstance(config, dict):
        raise ValueError(f"expected a JSON object in {path}, got {type(config).__name__}")
    return config


def build_model(architecture: Architecture, seed: int, dtype: torch.dtype) -> open_clip.CLIP:
    """Model with random weights that depend on ``seed`` alone; the global generator is untouched.

    Raises:
        FileNotFoundError: If a Hugging Face text tower's own config cannot be had.
        ValueError: If the config has a key or value that open_clip does not know.
    """
    config = copy.deepcopy(architecture.config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    vision["patch_dropout"] = 0.0  # a patch that is dropped has no place in a map
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    has_hf_text = bool(text.get("hf_model_name"))
    if has_hf_text:
        text["hf_model_pretrained"] = False
    is_custom = config.pop("custom_text", False) or has_hf_text
    model_class = open_clip.CustomTextCLIP if is_custom else open_clip.CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return model_class(**config, cast_dtype=None if dtype == torch.float32 else dtype)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"expected a config that open_clip {open_clip.__version__} can build, got "
            f"{first_line(error)!r} from {architecture.name}; correct its keys"
        ) from error
    except OSError as error:
        raise FileNotFoundError(
            f"expected the text config {text.get('hf_model_name')!r} of {architecture.name}, got "
            f"{first_line(error)}; run once with a network, or name a local folder"
        ) from error


def make_tokenizer(architecture: Architecture) -> open_clip.SimpleTokenizer:
    """The architecture's own tokenizer.

    Raises:
        FileNotFoundError: If a Hugging Face tokenizer cannot be had.
    """
    text = architecture.config["text_cfg"]
    name = text.get("hf_tokenizer_name")
    try:
        if architecture.is_listed:
            return open_clip.get_tokenizer(architecture.name)
        options = {"context_length": text.get("context_length", 77)}
        options.update(text.get("tokenizer_kwargs", {}))
        if name:
            return HFTokenizer(name, tokenizer_mode=text.get("tokenizer_mode"), **options)
        return open_clip.SimpleTokenizer(**options)
    except OSError as error:
        raise FileNotFoundError(
            f"expected the tokenizer {name!r} of {architecture.name}, got {first_line(error)}; "
            "run once with a network, or name a local folder"
        ) from error


def lower_precision(model: open_clip.CLIP, dtype: torch.dtype) -> None:
    """Keep matrices in ``dtype``; normalisation layers stay float32."""
    if isinstance(model.visual, TimmModel):
        model.to(dtype)
        for module in model.modules():
            if isinstance(module, LayerNormFp32):
                module.float()
    else:
        open_clip.convert_weights_to_lp(model, dtype=dtype)


def first_line(error: BaseException) -> str:
    """First line of an error's text."""
    return (str(error).strip().splitlines() or [""])[0]
