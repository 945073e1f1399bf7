"""open_clip weights: a tag, a file or ``random`` -> tensors in a model, or one clear refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import (
    convert_to_custom_text_state_dict,
    resize_pos_embed,
    resize_text_pos_embed,
)
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import Tensor

from clad.towers.open_clip_model import Architecture, first_line
from clad.towers.weight_files import RANDOM, WEIGHT_SUFFIXES, read_weights

# A state dict taken from OpenAI's own files carries these numbers beside the weights.
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from.

    Args:
        name: For messages.
        preprocess: ``mean``, ``std`` and ``interpolation`` the weights were trained with.
        path: File to load, or None.
        tag: open_clip's entry for a tag to download, or None. Random weights have neither.
    """

    name: str
    preprocess: dict[str, Any]
    path: Path | None = None
    tag: Mapping[str, Any] | None = None

    @property
    def is_random(self) -> bool:
        """Whether there is nothing to load."""
        return self.path is None and self.tag is None


def find_weights(architecture: Architecture, pretrained: str | None) -> WeightSource:
    """Where the weights are, without loading or downloading them.

    Raises:
        FileNotFoundError: If ``pretrained`` is a path with no file behind it.
        ValueError: If it is no tag of the architecture (with the tags there are), or its weights
            were trained with another activation.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture.name)
    choices = f"a tag ({', '.join(tags) or 'none known'}), a file or {RANDOM!r}"
    if not pretrained:
        raise ValueError(
            f"expected pretrained to name weights of {architecture.name}, got none; give {choices}"
        )
    if pretrained == RANDOM:
        return WeightSource(RANDOM, _preprocess(architecture.preprocess))
    tag = open_clip.get_pretrained_cfg(architecture.name, pretrained)
    if tag:
        check_activation(architecture, pretrained, bool(tag.get("quick_gelu", False)))
        return WeightSource(pretrained, _preprocess(tag), tag=tag)
    path = Path(pretrained)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ValueError(
            f"expected weights of {architecture.name}, got {pretrained!r}; give {choices}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"expected weights at {path}, found no file; check the path")
    if "openai" in path.name.lower():
        check_activation(architecture, pretrained, quick_gelu=True)
    return WeightSource(pretrained, _file_preprocess(architecture), path=path)


def check_activation(architecture: Architecture, weights: str, quick_gelu: bool) -> None:
    """Refuse weights trained with another activation: they load, and are silently worse.

    Raises:
        ValueError: With the architecture or argument that fits.
    """
    if bool(architecture.config.get("quick_gelu", False)) == quick_gelu:
        return
    if not quick_gelu:
        raise ValueError(
            f"expected GELU for weights {weights!r}, got {architecture.name} with quick-GELU; "
            "use the architecture without -quickgelu, or force_quick_gelu: false"
        )
    twin = f"{architecture.name}-quickgelu"
    rename = f"model_name: {twin} or " if twin in open_clip.list_models() else ""
    raise ValueError(
        f"expected quick-GELU for weights {weights!r}, got {architecture.name} with GELU; "
        f"use {rename}force_quick_gelu: true"
    )


def _preprocess(overlay: Mapping[str, Any]) -> dict[str, Any]:
    return merge_preprocess_dict(asdict(PreprocessCfg()), dict(overlay))


def _file_preprocess(architecture: Architecture) -> dict[str, Any]:
    """A file of tensors does not name its pixel statistics; the architecture has to."""
    if architecture.preprocess or not architecture.is_listed:
        return _preprocess(architecture.preprocess)
    keys = ("mean", "std", "interpolation")
    known = [
        {
            key: _preprocess(open_clip.get_pretrained_cfg(architecture.name, tag))[key]
            for key in keys
        }
        for tag in open_clip.list_pretrained_tags_by_model(architecture.name)
    ]
    if any(entry != known[0] for entry in known):
        raise ValueError(
            f"expected one pixel normalisation for {architecture.name}, got several among its "
            "published weights; pass the open_clip_config.json that came with the file as "
            "model_name"
        )
    return _preprocess(known[0] if known else {})


def load_weights(model: open_clip.CLIP, architecture: Architecture, source: WeightSource) -> None:
    """Fill the model, every tensor of it.

    Raises:
        FileNotFoundError: If a tag cannot be downloaded.
        ValueError: If the file is not plain tensors, or they do not fit the architecture.
    """
    path = source.path if source.path is not None else _download(architecture, source)
    state = read_weights(path)
    if not state.keys().isdisjoint(OPENAI_EXTRAS):
        check_activation(architecture, source.name, quick_gelu=True)
        state = {name: tensor for name, tensor in state.items() if name not in OPENAI_EXTRAS}
    fit = f"weights of {architecture.name} in {path}"
    hint = "check that model_name is the architecture the weights were made for"
    try:
        state = _adapt_state(model, state)
        missing, unexpected = model.load_state_dict(state, strict=False)
    except (RuntimeError, AssertionError, KeyError) as error:
        # load_state_dict puts a heading above the first mismatch.
        what = (str(error).splitlines()[:2] or [type(error).__name__])[-1].strip()
        raise ValueError(f"expected {fit}, got {what}; {hint}") from error
    for what, names in (("without", missing), ("with the unknown", unexpected)):
        if names:
            raise ValueError(
                f"expected {fit}, got a file {what} {names[0]!r} ({len(names)} such); {hint}"
            )


def _download(architecture: Architecture, source: WeightSource) -> Path:
    assert source.tag is not None
    place = source.tag.get("hf_hub") or source.tag.get("url")
    try:
        return Path(open_clip.download_pretrained(source.tag))
    except Exception as error:  # network, hub and disk raise dozens of types; all mean the same
        raise FileNotFoundError(
            f"expected weights {source.name!r} of {architecture.name} from {place}, got "
            f"{type(error).__name__}: {first_line(error)}; download the file where there is a "
            "network and pass its path as pretrained"
        ) from error


def _adapt_state(model: open_clip.CLIP, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state in this model's layout, with open_clip's own conversions of older layouts."""
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        if name in state and getattr(model, name) is not None:
            state[name] = state[name].reshape(getattr(model, name).shape)
    # transformers stopped storing these in 4.31; older text towers still carry them.
    state.pop("text.transformer.embeddings.position_ids", None)
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    return state
