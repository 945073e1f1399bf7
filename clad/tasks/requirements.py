"""What the slots of a recipe need from each other, refused before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch.nn import Parameter

from clad.adapters.base import Adapter
from clad.heads.base import Head
from clad.losses.base import Loss
from clad.prompts.base import PromptStrategy
from clad.samples import Splits
from clad.towers.base import Tower


def comes_into_one_space(losses: Sequence[Loss], tower: Tower, adapter: Adapter | None) -> bool:
    """Whether image and text can be compared: by the tower's own training, or by the recipe's.

    An adapter may bring them together without any (``Adapter.aligns_untrained``).

    Asked when the tuning has been applied: a tower that learns may come to align.
    """
    tower_learns = any(weight.requires_grad for weight in tower.parameters())
    learns_to_align = tower_learns or (adapter is not None and adapter.aligns)
    is_there = tower.is_aligned or (adapter is not None and adapter.aligns_untrained)
    return is_there or (bool(losses) and learns_to_align)


def expect_text(
    head: Head,
    losses: Sequence[Loss],
    tower: Tower,
    prompts: PromptStrategy | None,
    adapter: Adapter | None,
) -> None:
    """Refuse a recipe whose head or losses compare with words that it cannot give.

    Called when the tuning has been applied. A head that learns logits of its own needs no words.

    Raises:
        ValueError: If there are no prompts, or image and text never come into one space.
    """
    wants = [loss.name for loss in losses if loss.needs_alignment]
    wants += [type(head).__name__] if head.needs_text else []
    if not wants or head.classifies:
        return
    if prompts is None:
        raise ValueError(
            f"expected model.prompts for {', '.join(wants)}, got none; "
            "name a strategy (configs/prompts/)"
        )
    if not comes_into_one_space(losses, tower, adapter):
        raise ValueError(
            f"expected image and text in one space for {', '.join(wants)}, but the weights of "
            f"{type(tower).__name__} were never trained together and no adapter learns to align "
            "them, so a text score would mean nothing; add one (configs/adapter/) and train it, or "
            "use a head that needs no text (configs/head/)"
        )


def expect_validation(head: Head, splits: Splits) -> None:
    """Refuse to train for a head that could not be finished.

    Raises:
        ValueError: If it fits scales on validation images, and there are none.
    """
    if head.needs_validation and not splits.validation:
        raise ValueError(
            f"expected validation images for {type(head).__name__}, which fits scales on them, got "
            "none; hold some out (configs/data/; data.shots leaves none), or use a head without "
            "scales (configs/head/)"
        )


def expect_learning(losses: Sequence[Loss], parameters: Iterable[Parameter]) -> None:
    """Refuse losses that have nothing to teach.

    Raises:
        ValueError: If there are losses, but no parameter learns.
    """
    if losses and not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            f"expected a part that learns from {', '.join(loss.name for loss in losses)}, got "
            "frozen ones only; add an adapter (configs/adapter/) or leave model.losses out"
        )


def expect_taught(
    losses: Sequence[Loss], parameters: Iterable[tuple[str, Parameter]], has_weights: bool
) -> None:
    """Refuse parts that could learn and would keep the random weights they start with.

    Raises:
        ValueError: If there is no loss and no earlier stage, but a parameter that learns.
    """
    learning = [name for name, parameter in parameters if parameter.requires_grad]
    if learning and not losses and not has_weights:
        raise ValueError(
            f"expected weights that something has trained, got random ones for {learning[0]} and "
            f"{len(learning) - 1} more, and no losses; give an earlier stage's checkpoint with "
            "--model.initial_weights, or add losses (configs/losses/)"
        )


def expect_one_process(parameters: Iterable[Parameter], num_processes: int) -> None:
    """Refuse several processes where they would share nothing.

    Raises:
        ValueError: If nothing learns: each of them would let the head observe all images.
    """
    if num_processes > 1 and not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            f"expected one process for a recipe in which nothing learns, got {num_processes}; use "
            "--trainer.devices 1 (tests may use more)"
        )


def expect_trained(is_trained: bool, losses: Sequence[Loss]) -> None:
    """Refuse scores of parts that still hold random weights.

    Raises:
        ValueError: If the recipe learns, and neither was trained nor has read a checkpoint.
    """
    if losses and not is_trained:
        raise ValueError(
            "expected trained weights for this recipe, got random ones; give those of "
            "`clad fit` with --ckpt_path"
        )


def expect_no_training(
    losses: Sequence[Loss], head: Head, tower: Tower, has_shared_space: bool
) -> None:
    """Refuse a recipe that cannot score with the weights its parts start with.

    Raises:
        ValueError: If it learns, or its head compares with words of another space.
    """
    if losses:
        raise ValueError(
            "expected a recipe that scores without training, got one that learns from "
            f"{', '.join(loss.name for loss in losses)}; train it with `clad fit` and give the run "
            "with --model RUN"
        )
    if head.needs_text and not has_shared_space:
        raise ValueError(
            f"expected image and text weights that were trained together, got those of "
            f"{type(tower).__name__}, which were not, so a score from words alone would mean "
            "nothing; give normal images with --normal DIR and a recipe without words "
            "(configs/recipes/few_shot.yaml), a run that `clad fit` aligned with --model RUN, or "
            "CLIP weights (configs/recipes/winclip.yaml)"
        )
