"""Weights of a face encoder: a file that fits exactly, or random ones that somebody asked for."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_SEED = 0
_NetworkT = TypeVar("_NetworkT", bound=nn.Module)


def build_network(
    make: Callable[[], _NetworkT],
    weights: Path | None,
    allow_random: bool,
    key: str | None = None,
) -> _NetworkT:
    """The network with the weights of a file, or with random ones that are always the same.

    Args:
        make: Makes it.
        weights: File of tensors by the network's own names; None asks for random weights.
        allow_random: Whether random weights are accepted.
        key: Entry of the file that may hold the tensors; if it is not there, the file does.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If no weights are given and random ones are not allowed, or the file does not
            hold exactly the network's tensors.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        network = make()
    name = type(network).__name__
    if weights is not None:
        _load(network, read_tensors(weights, name, key), weights)
    elif not allow_random:
        raise ValueError(
            f"expected a file of weights for {name}, got none; give init_args.weights "
            "(docs/face-encoders.md), or allow_random: true for a trial whose scores mean nothing"
        )
    return network


def expect_file(weights: Path, name: str) -> Path:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: If it is not.
    """
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"expected weights of {name} at {weights}, found no file; docs/face-encoders.md says "
            "where they come from"
        )
    return Path(weights)


def read_tensors(weights: Path, name: str, key: str | None = None) -> Mapping[str, Tensor]:
    """Tensors of a torch file by name; no code in it is run.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it holds something else.
    """
    path = expect_file(weights, name)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"expected a torch file of tensors at {path}, got something else; save a state dict "
            "with torch.save"
        ) from error
    if isinstance(content, dict) and key is not None and key in content:
        content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"expected tensors by name in {path}, got {type(content).__name__}; save a state dict"
        )
    return content


def _load(network: nn.Module, given: Mapping[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    missing, surplus = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    differing = [
        f"{name} of shape {tuple(given[name].shape)} instead of {tuple(here.shape)}"
        for name, here in wanted.items()
        if name in given and here.shape != given[name].shape
    ]
    wrong = [f"no {name}" for name in missing[:1]]
    wrong += [f"an unknown {name}" for name in surplus[:1]]
    wrong += differing[:1]
    if wrong:
        raise ValueError(
            f"expected the {len(wanted)} tensors of {type(network).__name__} in {path}, got "
            f"{' and '.join(wrong)}; give weights of this very network"
        )
    network.load_state_dict(given)
