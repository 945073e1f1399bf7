"""What goes into a checkpoint: trained parts and references, never the frozen tower."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clad.heads.base import Head
from clad.tasks.calibration import Thresholds
from clad.tasks.threshold_entries import thresholds_from_plain, thresholds_to_plain
from clad.towers.base import Tower
from clad.tuning.base import Tuning

_TOWER = "tower."
_HEAD = "head."
_OWN = "clad"
"""Key of our own entries in a Lightning checkpoint; plain values only."""


def without_frozen(
    state: Mapping[str, Tensor], tower: Tower, tuning: Tuning | None = None
) -> dict[str, Tensor]:
    """The state without what a tower can load by itself.

    Of the tower there remain weights that learn, statistics of the modules they lie in, and what
    the tuning added to it, learning or not.

    Args:
        state: Of the task.
        tower: Its part in it starts with ``tower.``.
        tuning: Knows what it added.
    """
    kept = {name for name, value in tower.named_parameters() if value.requires_grad}
    for name, module in tower.learning_modules():
        prefix = f"{name}." if name else ""
        kept |= {prefix + own for own, _ in module.named_buffers(recurse=False)}

    def stays(name: str) -> bool:
        own = name.removeprefix(_TOWER)
        return own == name or own in kept or (tuning is not None and tuning.is_own(own))

    return {name: value for name, value in state.items() if stays(name)}


def write_entries(
    checkpoint: dict[str, Any], class_names: Sequence[str], thresholds: Thresholds
) -> None:
    """Add what is not a weight."""
    checkpoint[_OWN] = {
        "class_names": list(class_names),
        **thresholds_to_plain(thresholds),
    }


def read_entries(
    checkpoint: Mapping[str, Any], wanted: Sequence[str], head: Head
) -> tuple[tuple[str, ...], Thresholds]:
    """Categories to look at, and thresholds of the training that wrote the checkpoint.

    Args:
        checkpoint: As Lightning reads it.
        wanted: Categories of this run.
        head: If it knows no categories, this run may look at others than the training did
            (zero-shot transfer); there are no thresholds then, unless one is for all categories.

    Returns:
        The categories of the training, or those of this run where they are others; thresholds.

    Raises:
        ValueError: If it was not written by clad, or does not know a category that it must know.
    """
    if _OWN not in checkpoint:
        raise ValueError(
            "expected a checkpoint written by `clad fit`, got one without clad's own entries; "
            "give the file under the run's checkpoints/"
        )
    own = checkpoint[_OWN]
    thresholds = thresholds_from_plain(own)
    is_shared = thresholds.is_shared
    unknown = sorted(set(wanted) - set(own["class_names"]))
    if unknown and not head.knows_categories and is_shared:
        return tuple(wanted), thresholds.shared_with(wanted)
    if unknown and not head.knows_categories:
        return tuple(wanted), Thresholds({}, f"none: not trained on {', '.join(unknown)}")
    if unknown:
        raise ValueError(
            f"expected categories that the checkpoint was trained on "
            f"({', '.join(own['class_names'])}), got {', '.join(unknown)} as well; "
            "choose with --data.categories, or train on them"
        )
    return tuple(own["class_names"]), thresholds


def expect_same_weights(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse weights of other parts than the recipe's.

    Args:
        given: From the checkpoint.
        wanted: What the recipe keeps in checkpoints (``without_frozen``), before loading; a bank
            that is still empty may come in any size.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape, with its name.
    """
    missing, surplus = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    differing = [
        f"{name} of shape {tuple(given[name].shape)} instead of {tuple(here.shape)}"
        for name, here in wanted.items()
        if name in given and here.numel() and here.shape != given[name].shape
    ]
    what = [f"no {missing[0]}"] if missing else []
    what += [f"an unknown {surplus[0]}"] if surplus else []
    what += differing[:1]
    if what:
        raise ValueError(
            f"expected the weights of this recipe's parts, got {' and '.join(what)} in the "
            "checkpoint; use the configuration it was trained with (config.yaml of its run)"
        )


def trained_parts(path: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an earlier stage that this recipe has, too.

    What a head remembers of images (banks, scales) belongs to the run that saw them and is left
    out.

    Args:
        path: Checkpoint of the earlier stage.
        own: What this recipe keeps in checkpoints (``without_frozen``).

    Returns:
        Name in the task -> value; at least one.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If clad did not write it, nothing matches, or a weight has another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the checkpoint of an earlier stage at {path}, found none; give the file "
            "under that run's checkpoints/ as model.initial_weights"
        )
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or _OWN not in checkpoint:
        raise ValueError(
            f"expected a checkpoint written by `clad fit` at {path}, got one without clad's own "
            "entries; give the file under the run's checkpoints/"
        )
    given = {n: v for n, v in checkpoint["state_dict"].items() if not n.startswith(_HEAD)}
    shared = {name: value for name, value in given.items() if name in own}
    differing = [
        f"{name} of shape {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in shared.items()
        if value.shape != own[name].shape
    ]
    if differing or not shared:
        example = next(iter(given), "no weights")
        got = differing[0] if differing else f"none, only e.g. {example}"
        raise ValueError(
            f"expected weights of this recipe's parts in {path}, got {got}; give the stage that "
            "trained the same parts as model.initial_weights"
        )
    return shared


def expect_none_random(
    tower: Tower, tuning: Tuning | None, found: Collection[str] = frozenset()
) -> None:
    """Refuse weights that the tuning added, that will not learn, and that no stage has trained.

    Args:
        tower: With the tuning applied.
        tuning: Knows what it added.
        found: Names in the task that an earlier stage brings.

    Raises:
        ValueError: If there is one, with its name.
    """
    random = [
        name
        for name, weight in tower.named_parameters()
        if tuning is not None
        and tuning.is_own(name)
        and not weight.requires_grad
        and _TOWER + name not in found
    ]
    if random:
        raise ValueError(
            f"expected an earlier stage that trained {random[0]}, which does not learn in this "
            f"one, got none; give its checkpoint as model.initial_weights, or let it learn "
            f"({type(tuning).__name__})"
        )
