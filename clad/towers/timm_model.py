"""timm's names, weights and layer groups for one architecture."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters
from torch import Tensor, nn

from clad.towers.base import Block, EncoderParts
from clad.towers.weight_files import RANDOM, expect_weight_file, fill, read_weights

DOWNLOAD = "download"


@dataclass(frozen=True)
class TimmName:
    """An architecture of timm, perhaps with a tag that names one of its trained weights.

    Args:
        architecture: Such as ``legacy_xception``.
        tag: Such as ``tf_in1k``; empty where none was given.
        tags: All that timm knows of the architecture.
    """

    architecture: str
    tag: str
    tags: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture

    @property
    def config(self) -> dict[str, Any]:
        """Pixel statistics and size that the weights were trained with."""
        return self.of_tag(self.tag)

    def of_tag(self, tag: str) -> dict[str, Any]:
        """Likewise of another tag; the empty one is timm's default."""
        name = f"{self.architecture}.{tag}" if tag else self.architecture
        found: dict[str, Any] = get_pretrained_cfg(name).to_dict()
        return found


def read_name(model_name: str) -> TimmName:
    """The parts of ``architecture.tag``.

    Raises:
        ValueError: If timm knows no such architecture (with close names) or tag (with all).
    """
    architecture, _, tag = model_name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=5)
        raise ValueError(
            f"expected model_name that timm lists, got {architecture!r}; close names are "
            f"{', '.join(close) or 'none'}"
        )
    known = timm.list_pretrained(f"{architecture}.*")
    tags = tuple(name.partition(".")[2] for name in known)
    if tag and tag not in tags:
        raise ValueError(
            f"expected a tag of {architecture} among {', '.join(tags) or 'none'}, got {tag!r}"
        )
    return TimmName(architecture, tag, tags)


def expect_one_normalisation(name: TimmName) -> None:
    """Refuse to guess which pixel statistics a file of tensors was trained with.

    Raises:
        ValueError: If no tag says so and those of the architecture disagree.
    """
    keys = ("mean", "std")
    known = {tuple(tuple(name.of_tag(tag)[key]) for key in keys) for tag in name.tags}
    if not name.tag and len(known) > 1:
        raise ValueError(
            f"expected one pixel normalisation for {name.architecture}, got several among its "
            f"published weights; give mean and std, or model_name as {name.architecture}.TAG with "
            f"the weights' tag of {', '.join(name.tags)}"
        )


def load_model(name: TimmName, pretrained: str | None, random_seed: int) -> nn.Module:
    """The network without its classifier.

    Args:
        name: Which.
        pretrained: ``download``, ``random`` or a file.
        random_seed: Decides random weights.

    Raises:
        FileNotFoundError: If the file is not there, or nothing can be downloaded.
        ValueError: If ``pretrained`` is neither, or tensors do not fit.
    """
    choices = f"{DOWNLOAD!r}, a file or {RANDOM!r}"
    if not pretrained:
        raise ValueError(f"expected pretrained to name weights of {name}, got none; give {choices}")
    if pretrained == DOWNLOAD:
        return _download(name)
    path = None if pretrained == RANDOM else expect_weight_file(pretrained, str(name), choices)
    model = _new(name, random_seed)
    if path is not None:
        classifier = name.config.get("classifier") or ()
        names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        unused = tuple(f"{each}." for each in names)
        own = model.state_dict().keys()
        state = {
            key: value
            for key, value in read_weights(path).items()
            if key in own or not key.startswith(unused)
        }
        fill(model, state, f"weights of {name} in {path}")
    return model


def _new(name: TimmName, random_seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed)
        model: nn.Module = timm.create_model(str(name), pretrained=False, num_classes=0)
    return model


def _download(name: TimmName) -> nn.Module:
    if not name.tag:
        raise ValueError(
            f"expected model_name with the tag of its weights, got {name}; give it as "
            f"{name.architecture}.TAG with one of {', '.join(name.tags) or 'no known tags'}"
        )
    place = name.config.get("hf_hub_id") or name.config.get("url")
    try:
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = timm.create_model(str(name), pretrained=True, num_classes=0)
    except Exception as error:  # network, hub and disk raise dozens of types; all mean the same
        first = (str(error).splitlines() or [""])[0]
        raise FileNotFoundError(
            f"expected weights {name} from {place}, got {type(error).__name__}: {first}; download "
            "the file where there is a network and pass its path as pretrained"
        ) from error
    return model


def set_image_size(model: nn.Module, name: TimmName, size: tuple[int, int]) -> None:
    """Let the model take images of this size; position embeddings are interpolated by timm.

    Raises:
        ValueError: If the model's size is fixed, or is no multiple of its patches.
    """
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    if any(side < 1 or side % step for side, step in zip(size, patch, strict=True)):
        raise ValueError(
            f"expected image_size in multiples of {tuple(patch)} for {name}, got {size}"
        )
    own = tuple(name.config["input_size"][1:])
    if size == own or not name.config.get("fixed_input_size"):
        return
    change = getattr(model, "set_input_size", None)
    if change is None:
        raise ValueError(f"expected image_size {own}, the only one of {name}, got {size}")
    change(img_size=size)


def read_parts(model: nn.Module, size: tuple[int, int]) -> EncoderParts | None:
    """Blocks by timm's own layer groups, or None where it has none that are called as one.

    The first group (stem, positions) is left out; what follows the first block of the last group
    is final. Widths are read off one black image.
    """
    matcher = getattr(model, "group_matcher", None)
    if matcher is None:
        return None
    groups: dict[int, list[str]] = group_parameters(model, matcher(coarse=False))
    order = sorted(groups)[1:]
    steps = [(group, path) for group in order for path in _modules_of(group, groups)]
    if not steps:
        return None
    last = next(place for place, (group, _) in enumerate(steps) if group == order[-1])
    paths = [path for _, path in steps[: last + 1]]
    if not all(paths):  # a bare weight between blocks
        return None
    paths = [_innermost(model, path) for path in paths]
    shapes = _output_shapes(model, paths, size)
    if len(shapes) < len(paths):
        return None
    is_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    dims = [-1 if is_last or len(shapes[path]) == 3 else 1 for path in paths]
    blocks = tuple(
        Block(model.get_submodule(path), shapes[path][dim], dim)
        for path, dim in zip(paths, dims, strict=True)
    )
    inside = {id(weight) for weight in blocks[-1].module.parameters()}
    names = dict(model.named_parameters())
    final = (names[each] for each in groups[order[-1]])
    return EncoderParts(blocks, tuple(weight for weight in final if id(weight) not in inside))


def _modules_of(group: int, groups: Mapping[int, list[str]]) -> Iterator[str]:
    """Paths of the largest modules whose weights all belong to the group; "" for bare weights."""
    others = [name for number, names in groups.items() if number != group for name in names]
    covered: tuple[str, ...] = ()
    for name in groups[group]:
        if name.startswith(covered):
            continue
        parts = name.split(".")[:-1]
        paths = (".".join(parts[: depth + 1]) for depth in range(len(parts)))
        path = next(
            (path for path in paths if not any(each.startswith(f"{path}.") for each in others)), ""
        )
        yield path
        covered += (f"{path}.",) if path else (name,)


def _innermost(model: nn.Module, path: str) -> str:
    """The module in a row of one, which can hold what a tuning adds to it."""
    module = model.get_submodule(path)
    while isinstance(module, nn.Sequential) and len(module) == 1:
        (name, module), *_ = module.named_children()
        path = f"{path}.{name}"
    return path


def _output_shapes(
    model: nn.Module, paths: list[str], size: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """Shape of what each module gives for one image; modules that are never called are left out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(module: nn.Module, inputs: object, output: object, path: str) -> None:
        del module, inputs
        if isinstance(output, Tensor):
            shapes[path] = tuple(output.shape)

    handles = [
        model.get_submodule(path).register_forward_hook(partial(note, path=path)) for path in paths
    ]
    weight = next(model.parameters())
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, *size, dtype=weight.dtype, device=weight.device))
    finally:
        for handle in handles:
            handle.remove()
    return shapes
