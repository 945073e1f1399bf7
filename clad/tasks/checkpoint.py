"""What goes into a checkpoint: trained parts and references, never the frozen tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from clad.tasks.calibration import Thresholds
from clad.towers.base import Tower

_TOWER = "tower."
_OWN = "clad"
"""Key of our own entries in a Lightning checkpoint; plain values only."""


def without_frozen(state: Mapping[str, Tensor], tower: Tower) -> dict[str, Tensor]:
    """The state without the tower's frozen weights, nor its statistics if nothing of it learns."""
    learning = {name for name, value in tower.named_parameters() if value.requires_grad}
    buffers = {name for name, _ in tower.named_buffers()} if learning else set()
    kept = {_TOWER + name for name in learning | buffers}
    return {
        name: value for name, value in state.items() if not name.startswith(_TOWER) or name in kept
    }


def write_entries(
    checkpoint: dict[str, Any], class_names: Sequence[str], thresholds: Thresholds
) -> None:
    """Add what is not a weight."""
    checkpoint[_OWN] = {
        "class_names": list(class_names),
        "thresholds": dict(thresholds.values),
        "threshold_source": thresholds.source,
    }


def read_entries(
    checkpoint: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[tuple[str, ...], Thresholds]:
    """Categories and thresholds of the training that wrote the checkpoint.

    Args:
        checkpoint: As Lightning reads it.
        wanted: Categories of this run.

    Raises:
        ValueError: If it was not written by clad, or does not know a wanted category.
    """
    if _OWN not in checkpoint:
        raise ValueError(
            "expected a checkpoint written by `clad fit`, got one without clad's own entries; "
            "give the file under the run's checkpoints/"
        )
    own = checkpoint[_OWN]
    unknown = sorted(set(wanted) - set(own["class_names"]))
    if unknown:
        raise ValueError(
            f"expected categories that the checkpoint was trained on "
            f"({', '.join(own['class_names'])}), got {', '.join(unknown)} as well; "
            "choose with --data.categories, or train on them"
        )
    return tuple(own["class_names"]), Thresholds(own["thresholds"], own["threshold_source"])


def expect_same_weights(
    given: Mapping[str, Tensor], state: Mapping[str, Tensor], tower: Tower
) -> None:
    """Refuse weights of other parts than the recipe's.

    Args:
        given: From the checkpoint.
        state: Of the recipe, before loading; a bank that is still empty may come in any size.
        tower: Its frozen weights are not in checkpoints.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape, with its name.
    """
    wanted = without_frozen(state, tower)
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
