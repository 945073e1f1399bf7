"""Normal images that a finished model is shown."""

from __future__ import annotations

from typing import NamedTuple

from clad.tasks.anomaly_model import AnomalyModel


class NormalsSeen(NamedTuple):
    """What ``Detector.observe_normal`` did with the images.

    Args:
        num_references: Shown to the head.
        num_held_out: Kept from it, to fit scales and the threshold on.
    """

    num_references: int
    num_held_out: int


def attach_anew(model: AnomalyModel, name: str) -> None:
    """Make room for references of one category; what is known of others is dropped.

    Raises:
        ValueError: If the head was trained on other categories.
    """
    head = model.head
    if head.knows_categories:
        if any(parameter.requires_grad for parameter in head.parameters()):
            raise ValueError(
                f"expected the one object that {type(head).__name__} was trained on, got "
                f"{name!r} beside {', '.join(model.class_names)}; train on its images alone"
            )
        head.attach(model.tower, (name,))
        head.to(model.device)
    model.class_names = (name,)
