"""What is known of images on disk before they are decoded: samples, and their roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["train", "validation", "test", "auxiliary"]
GOOD = "good"


@dataclass(frozen=True)
class Origin:
    """Where a face crop was cut from: its score counts for that frame and that video.

    Args:
        frame: Name of the photograph or video frame; crops of one frame share it.
        video: Name of the video; None for a photograph.
        has_face: False where no face was found and the whole image stands in for one.
    """

    frame: str
    video: str | None = None
    has_face: bool = True


@dataclass(frozen=True)
class Sample:
    """One image on disk and what is known about it.

    Args:
        image_path: File to decode.
        label: 1 anomalous or fake, 0 normal or real.
        category: Object the image shows, e.g. ``metal_nut``; metrics are taken per category.
        defect_type: ``good`` for label 0, else the owner's name of the defect or forgery.
        mask_path: File whose non-zero pixels are anomalous, or None if there is no mask.
        group: What must not be torn apart by a split (video, person, wafer); None if files stand
            alone.
        domain: ``industrial`` or ``face``; batches can be balanced by it and metrics averaged.
        origin: Frame and video that the image was cut from; None where it stands for itself.
        landmarks: (68, 2) float32 x, y of the face in pixels of the stored file, in the order of
            the 68-point scheme (Sagonas et al., ICCV workshops 2013); None where unknown.
    """

    image_path: Path
    label: int
    category: str
    defect_type: str = GOOD
    mask_path: Path | None = None
    group: str | None = None
    domain: str = "industrial"
    origin: Origin | None = None
    landmarks: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Splits:
    """Samples by role. Roles never share a file or a group (``clad.data.splits`` refuses it).

    Args:
        train: What the trained parts and the reference memory see.
        validation: What thresholds, fusion weights and stopping rules see.
        test: What metrics see, and nothing else.
        notes: Sentences that say how the splits were made or what was inferred; printed at start.
    """

    train: tuple[Sample, ...] = ()
    validation: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()
