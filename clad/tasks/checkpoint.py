"""What goes into a checkpoint: trained parts and references, never the frozen tower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from clad.towers.base import Tower

_TOWER = "tower."


def without_frozen(state: Mapping[str, Tensor], tower: Tower) -> dict[str, Tensor]:
    """The state without the tower's frozen weights, nor its statistics if nothing of it learns."""
    learning = {name for name, value in tower.named_parameters() if value.requires_grad}
    buffers = {name for name, _ in tower.named_buffers()} if learning else set()
    kept = {_TOWER + name for name in learning | buffers}
    return {
        name: value for name, value in state.items() if not name.startswith(_TOWER) or name in kept
    }


def expect_complete(
    checkpoint: Mapping[str, Any],
    key: str,
    state: Mapping[str, Tensor],
    tower: Tower,
    class_names: Iterable[str],
) -> None:
    """Refuse a checkpoint that this recipe cannot use.

    Raises:
        ValueError: If it was not written by clad, was trained on other categories, or holds other
            weights than the recipe's parts.
    """
    if key not in checkpoint:
        raise ValueError(
            "expected a checkpoint written by `clad fit`, got one without clad's own entries; "
            "give the file under the run's checkpoints/"
        )
    unknown = sorted(set(class_names) - set(checkpoint[key]["class_names"]))
    if unknown:
        raise ValueError(
            f"expected categories that the checkpoint was trained on "
            f"({', '.join(checkpoint[key]['class_names'])}), got {', '.join(unknown)} as well; "
            "choose with --data.categories, or train on them"
        )
    wanted, given = set(without_frozen(state, tower)), set(checkpoint["state_dict"])
    if wanted != given:
        missing, surplus = sorted(wanted - given), sorted(given - wanted)
        what = [f"no {missing[0]}"] if missing else []
        what += [f"an unknown {surplus[0]}"] if surplus else []
        raise ValueError(
            f"expected the weights of this recipe's parts, got {' and '.join(what)} in the "
            "checkpoint; use the configuration it was trained with (config.yaml of its run)"
        )
