"""Files of weights -> tensors by name: what the towers that load them share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

RANDOM = "random"
WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def expect_weight_file(pretrained: str, what: str, choices: str) -> Path:
    """The path that ``pretrained`` is.

    Args:
        pretrained: From a configuration.
        what: Whose weights, for messages.
        choices: What else it may be, likewise.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not look like the name of one.
    """
    path = Path(pretrained)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ValueError(f"expected weights of {what}, got {pretrained!r}; give {choices}")
    if not path.is_file():
        raise FileNotFoundError(f"expected weights at {path}, found no file; check the path")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name; nothing in the file is executed.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected weights at {path}, found no file; check the path")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged bytes make the readers raise anything
        if "TorchScript" in str(error):
            hint = (
                "save torch.jit.load(path).state_dict() with safetensors, once, where you trust it"
            )
            raise ValueError(f"expected tensors in {path}, got a program; {hint}") from error
        raise ValueError(
            f"expected tensors only in {path}, got a damaged file or one that could run code "
            f"({type(error).__name__}); fetch it again, preferably as .safetensors"
        ) from error
    while isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f"expected named tensors in {path}, got {type(state).__name__}; "
            "save model.state_dict() alone"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def fill(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Put tensors into a model, every one of them.

    Args:
        model: Takes them.
        state: Tensors by name.
        what: Whose weights and where from, for messages.

    Raises:
        ValueError: If one is missing, unknown or of another shape, with its name.
    """
    hint = "check that the file was made for this architecture"
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        # load_state_dict puts a heading above the first mismatch.
        first = (str(error).splitlines()[:2] or [""])[-1].strip()
        raise ValueError(f"expected {what}, got {first}; {hint}") from error
    for how, names in (("without", missing), ("with the unknown", unexpected)):
        if names:
            raise ValueError(
                f"expected {what}, got a file {how} {names[0]!r} ({len(names)} such); {hint}"
            )
