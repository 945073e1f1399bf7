"""A recipe or a trained run as an object that scores images: no data module, no trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from clad.checks import expect_range
from clad.data.cache import PixelCache
from clad.data.loose_images import (
    ImageLike,
    LoadedImage,
    Loading,
    OnUnreadable,
    batch_of,
    batches_of,
    load_in_chunks,
)
from clad.explain.regions import hot_regions
from clad.explain.scored_image import ScoredImage
from clad.precision import Precision, tower_precision
from clad.prompts.words import as_category
from clad.tasks.anomaly_model import AnomalyModel
from clad.tasks.calibration import too_few_for_threshold
from clad.tasks.fresh_normals import NormalsSeen, attach_anew
from clad.tasks.preparation import num_held_out_beside
from clad.tasks.recipe import Recipe, read_recipe, run_files
from clad.tasks.requirements import expect_no_training
from clad.tasks.rethreshold import without_validation

NAMELESS = "object"
"""Category of a recipe without words, if nobody names one."""


class Detector:
    """Scores images of one category at a time, by a trained run or a recipe without training.

    Images are files, (H, W, 3) uint8 RGB arrays or PIL images. They are resized as ``clad predict``
    resizes them, and scored in batches. ``cache`` (None, or a ``PixelCache``) keeps what was
    decoded; with ``picture_px`` results bring a grey picture of that longest side.

    Args:
        task: With the weights it shall have, and attached to its categories.
        image_size: (height, width) that images are resized to first; None takes the tower's.
        is_ready: Whether the head has seen the normal images that it needs.
        batch_size: Images per batch, at least 1.
        device: Where to calculate; None takes a GPU if there is one.
        precision: Of the image encoder: ``32``, ``bf16``, or ``auto`` for bfloat16 where the
            hardware multiplies it faster. Scores and maps are calculated in float32 from there on.
    """

    def __init__(
        self,
        task: AnomalyModel,
        image_size: tuple[int, int] | None = None,
        is_ready: bool = True,
        batch_size: int = 16,
        device: torch.device | str | None = None,
        precision: Precision = "32",
    ) -> None:
        expect_range("batch_size", batch_size, 1, float("inf"))
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        tower_precision(precision, device)  # refuses what it does not know
        self.precision: Precision = precision
        self.task: AnomalyModel = task.to(device).eval()
        self.image_size = image_size or task.tower.image_size
        self.batch_size = batch_size
        self.cache: PixelCache | None = None
        self.picture_px: int | None = None
        self._is_ready = is_ready or not task.head.knows_categories

    @classmethod
    def load(
        cls,
        run: str | Path,
        batch_size: int = 16,
        device: torch.device | str | None = None,
        precision: Precision = "32",
    ) -> Detector:
        """The detector of a trained run, with its references and thresholds.

        Args:
            run: Run directory of ``clad fit``, or the checkpoint in it.
            batch_size: Images per batch.
            device: Where to calculate; None takes a GPU if there is one.
            precision: Of the image encoder, as above.

        Raises:
            FileNotFoundError: If configuration or checkpoint is missing.
            ValueError: If they do not belong together.
        """
        config, checkpoint = run_files(Path(run))
        recipe = read_recipe([config])
        task = recipe.build()
        task.load_weights(checkpoint)
        return cls(
            task, recipe.image_size, batch_size=batch_size, device=device, precision=precision
        )

    @classmethod
    def from_config(
        cls,
        recipe: Recipe | Sequence[Path] | Path,
        category: str | None = None,
        batch_size: int = 16,
        device: torch.device | str | None = None,
        precision: Precision = "32",
    ) -> Detector:
        """The detector of a recipe that needs no training.

        Args:
            recipe: Files, the later ones laid over the earlier, or what was read from them.
            category: What the images show, spaces allowed; its words are looked up by this name.
                May be left out of recipes without words.
            batch_size: Images per batch.
            device: Where to calculate; None takes a GPU if there is one.
            precision: Of the image encoder, as above.

        Raises:
            ValueError: If the recipe must be trained first, or compares images with words of
                another space.
        """
        if not isinstance(recipe, Recipe):
            recipe = read_recipe([recipe] if isinstance(recipe, Path) else recipe)
        task = recipe.build()
        expect_no_training(task.terms, task.head, task.tower, task.has_shared_space)
        if category is None and task.prompts is not None:
            raise ValueError(
                "expected the name of the object, which the recipe's words are about, got none; "
                "give it with --object"
            )
        task.attach((as_category(category or NAMELESS),))
        return cls(task, recipe.image_size, False, batch_size, device, precision)

    @property
    def categories(self) -> tuple[str, ...]:
        """What it was trained on, or attached to."""
        return self.task.class_names

    @property
    def threshold_source(self) -> str:
        """What the threshold was fitted on, in words; why there is none, if there is none."""
        return self.task.threshold_source

    @property
    def calibration_source(self) -> str:
        """On what percentiles and probabilities rest, in words; why there are none."""
        return self.task.thresholds_fitted.calibration_source

    def set_threshold(
        self, value: float | None = None, false_alarm_budget: float | None = None
    ) -> None:
        """As that of the task; normal images observed afterwards follow the same rule.

        Raises:
            ValueError: If a trained threshold is to be fitted anew and no scores were kept.
        """
        self.task.set_threshold(value, false_alarm_budget)

    def observe_normal(
        self,
        images: Iterable[ImageLike],
        category: str | None = None,
        seed: int = 42,
        on_unreadable: OnUnreadable | None = None,
    ) -> NormalsSeen:
        """Take normal images for references, and hold some out for a threshold if there are enough.

        Replaces what a trained run knew of normal images. ``clad.tasks.calibration.num_held_out``
        says how many are held out; all of them, where the head needs no references.

        Args:
            images: Normal images; all are held in memory at the size of the model.
            category: What they show; as in ``score``, but a new one may come in here.
            seed: Decides which of them are held out.
            on_unreadable: Is told of images that cannot be read; None raises.

        Raises:
            ValueError: If there is none, or fewer than the head's scales need.
        """
        name = self._choose(category, is_new_allowed=True)
        chunks = load_in_chunks(images, self._loading(None), self.batch_size, on_unreadable)
        loaded = list(chain.from_iterable(chunks))
        if not loaded:
            raise ValueError("expected at least one normal image that can be read, got none")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(loaded), generator=generator).tolist()
        budget = self.task.false_alarm_budget
        count = num_held_out_beside(self.task.head, len(loaded), budget)
        held_out = [loaded[n] for n in sorted(order[:count])]
        references = [loaded[n] for n in sorted(order[count:])]
        if self.categories != (name,):
            attach_anew(self.task, name)
        if not held_out:
            none = too_few_for_threshold(len(loaded), budget)
            self.task.thresholds_fitted = without_validation(self.task.metrics, (name,), none)
        with tower_precision(self.precision, self.task.device):
            self.task.observe(
                partial(batches_of, references, self.batch_size, name),
                partial(batches_of, held_out, self.batch_size, name) if held_out else None,
            )
        self._is_ready = True
        return NormalsSeen(len(references), len(held_out))

    def score(self, images: Iterable[ImageLike], category: str | None = None) -> list[ScoredImage]:
        """Scores, maps, regions and words of images, in their order.

        Args:
            images: Files, (H, W, 3) uint8 RGB arrays or PIL images.
            category: What they show; may be left out where only one is known.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If an image cannot be read, the category is unknown, or the head has not
                seen the normal images that it needs.
        """
        return list(self.score_each(images, category))

    def score_each(
        self,
        images: Iterable[ImageLike],
        category: str | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Iterator[ScoredImage]:
        """As ``score``, batch by batch, so that any number of images fits into memory.

        Args:
            images: As in ``score``.
            category: As in ``score``.
            on_unreadable: Is told of images that cannot be read, which are left out; None raises.
        """
        name = self._choose(category)
        if not self._is_ready:
            raise ValueError(
                f"expected normal images before anything is scored, because "
                f"{type(self.task.head).__name__} compares with them, got none; "
                "give some with --normal DIR"
            )
        how = self._loading(self.picture_px)
        for loaded in load_in_chunks(images, how, self.batch_size, on_unreadable):
            yield from self._score_batch(loaded, name)

    def _loading(self, picture_px: int | None) -> Loading:
        return Loading(self.image_size, picture_px, self.cache)

    def _score_batch(self, loaded: Sequence[LoadedImage], name: str) -> Iterator[ScoredImage]:
        with torch.inference_mode(), tower_precision(self.precision, self.task.device):
            found = self.task.describe(batch_of(loaded, name).to(self.task.device)).to("cpu")
        fitted = self.task.thresholds_fitted
        threshold = fitted.of(name)
        scores = found.scores.double().tolist()
        for row, image in enumerate(loaded):
            values = None if found.maps is None else found.maps[row].detach().float().numpy()
            yield ScoredImage(
                name=image.name,
                category=name,
                score=scores[row],
                image_size=image.image_size,
                model_map=values,
                regions=() if values is None else hot_regions(values, image.image_size),
                words=found.words[row] if found.words else (),
                region_words=found.region_words[row] if found.region_words else (),
                threshold=threshold,
                picture=image.picture,
                standing=fitted.standing(name, scores[row]),
            )

    def _choose(self, category: str | None, is_new_allowed: bool = False) -> str:
        """The category that is meant.

        Raises:
            ValueError: If it is unknown to a head that knows categories, or left open.
        """
        known = self.categories
        if category is None:
            if len(known) == 1:
                return known[0]
            raise ValueError(
                f"expected the name of the object, one of {', '.join(known)}, got none; "
                "give it with --object"
            )
        name = as_category(category, known)
        if name in known or is_new_allowed:
            return name
        if self.task.head.knows_categories:
            raise ValueError(
                f"expected an object that the head knows, one of {', '.join(known)}, got "
                f"{category!r}; show normal ones of it with --normal DIR"
            )
        # Words and learned parts speak of any object; only a threshold belongs to one.
        self.task.class_names = (*known, name)
        return name
