"""What the folders of one category mean: which are splits, good images, defects, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clad.data.files import has_images, list_folders, list_images, mask_key, shown
from clad.samples import Sample

NORMAL_NAMES = frozenset({"good", "normal", "ok", "nominal", "healthy", "defect_free", "no_defect"})
ANOMALOUS_NAMES = frozenset(
    {"abnormal", "anomaly", "anomalies", "anomalous", "ng", "nok", "not_ok", "bad", "faulty"}
    | {"defect", "defects", "defective", "not_good"}
)
TRAIN_NAMES = frozenset({"train", "training"})
VALIDATION_NAMES = frozenset({"validation", "valid", "val"})
TEST_NAMES = frozenset({"test", "testing"})
SPLIT_NAMES = TRAIN_NAMES | VALIDATION_NAMES | TEST_NAMES
MASK_NAMES = frozenset({"ground_truth", "groundtruth", "gt", "masks", "mask", "labels"})

_ACCEPTED = (
    "accepted are train/ and test/ with good/ and defect folders inside, good/ (or normal, ok) "
    "beside defect folders, a folder of such categories, or good images only"
)


@dataclass(frozen=True)
class CategoryLayout:
    """Samples of one category, by stored role, or ``unsplit`` where the owner stored none.

    Args:
        category: Its name.
        kind: The layout in words.
        train: Stored in ``train/``.
        validation: Stored in ``validation/``.
        test: Stored in ``test/``.
        unsplit: Everything, where there are no such folders.
        num_unused_masks: Mask files that fit no anomalous image.
    """

    category: str
    kind: str
    train: tuple[Sample, ...] = ()
    validation: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    unsplit: tuple[Sample, ...] = ()
    num_unused_masks: int = 0


@dataclass(frozen=True)
class _Mask:
    """A mask file and the names of the folders it lies in, below the mask folder."""

    path: Path
    folders: tuple[str, ...]

    def fits(self, split: str | None, image_folders: tuple[str, ...]) -> bool:
        """Whether the folders allow this mask for an image of that split and class folders."""
        folders = self.folders
        if folders and folders[0] in SPLIT_NAMES:
            if folders[0] != split:
                return False
            folders = folders[1:]
        return folders in ((), image_folders, image_folders[:1], image_folders[-1:])


def find_categories(root: Path) -> dict[str, Path]:
    """Category folders by name; ``root`` itself if its folders are splits or classes.

    Raises:
        ValueError: If there is no image, or the layout is ambiguous.
    """
    if not has_images(root):
        raise ValueError(f"expected images in {root}, found none; check data.root")
    if list_images(root) or _names_its_folders(root):
        return {root.resolve().name: root}
    inner = _folders_with_images(root)
    unclear = [folder.name for folder in inner if not _names_its_folders(folder)]
    if unclear:
        raise _ambiguous(root, f"images in {shown(unclear)} and nothing named good, ok or train")
    return {folder.name: folder for folder in inner}


def read_category(folder: Path, category: str) -> CategoryLayout:
    """The samples of one category with labels, defect names and masks.

    Raises:
        ValueError: If the layout or a mask's image is ambiguous, or there are no good images.
    """
    classes, masks = _classes_and_masks(folder)
    direct = list_images(folder)
    if direct and classes:
        raise _ambiguous(folder, f"{len(direct)} images beside folders")
    if direct:
        samples = tuple(Sample(path, 0, category) for path in direct)
        layout = CategoryLayout(category, "a folder of good images only", unsplit=samples)
    elif any(_is(f, SPLIT_NAMES) for f in classes):
        layout = _read_stored_splits(folder, classes, category, masks)
    else:
        kind = f"folders {', '.join(f.name for f in classes)} without train/ or test/"
        layout = CategoryLayout(
            category, kind, unsplit=_read_classes(folder, classes, category, masks, None)
        )
    return replace(layout, num_unused_masks=len(masks) - _count_used(layout, masks))


def _read_stored_splits(
    folder: Path, splits: Sequence[Path], category: str, masks: Sequence[_Mask]
) -> CategoryLayout:
    roles = {"train": TRAIN_NAMES, "validation": VALIDATION_NAMES, "test": TEST_NAMES}
    by_role: dict[str, tuple[Sample, ...]] = {}
    for split in splits:
        role = next((name for name, words in roles.items() if _is(split, words)), None)
        if role is None or role in by_role:
            raise _ambiguous(folder, f"{split.name} beside split folders")
        by_role[role] = _read_split(split, role, category, masks)
    kind = f"split folders {', '.join(split.name for split in splits)}"
    return CategoryLayout(
        category,
        kind,
        train=by_role.get("train", ()),
        validation=by_role.get("validation", ()),
        test=by_role.get("test", ()),
    )


def _read_split(
    split: Path, role: str, category: str, masks: Sequence[_Mask]
) -> tuple[Sample, ...]:
    direct = list_images(split)
    classes, own_masks = _classes_and_masks(split)
    if direct and (classes or role == "test"):
        raise _ambiguous(split, f"{len(direct)} images outside of class folders")
    if direct:
        return tuple(Sample(path, 0, category) for path in direct)
    needs_normal = role != "test"
    return _read_classes(
        split, classes, category, [*masks, *own_masks], _plain(split), needs_normal
    )


def _read_classes(
    folder: Path,
    classes: Sequence[Path],
    category: str,
    masks: Sequence[_Mask],
    split: str | None,
    needs_normal: bool = True,
) -> tuple[Sample, ...]:
    normal = [f for f in classes if _is(f, NORMAL_NAMES)]
    if len(normal) > 1 or (needs_normal and not normal):
        count = f"both {shown(f.name for f in normal)}" if normal else "no good, normal or ok"
        raise _ambiguous(folder, count)
    by_stem: dict[str, list[_Mask]] = {}
    for mask in masks:
        by_stem.setdefault(mask_key(mask.path), []).append(mask)
    samples = []
    for inner in classes:
        for path in list_images(inner, nested=True):
            if inner in normal:
                samples.append(Sample(path, 0, category))
                continue
            folders = tuple(_plain(Path(part)) for part in path.parent.relative_to(folder).parts)
            fitting = [m for m in by_stem.get(path.stem, []) if m.fits(split, folders)]
            mask_path = _choose_mask(path, fitting)
            samples.append(Sample(path, 1, category, _defect_name(path, inner), mask_path))
    _refuse_shared_masks(samples)
    return tuple(samples)


def _defect_name(path: Path, folder: Path) -> str:
    """Name of the class folder, or of the folder inside if the class only says ``anomalous``."""
    parts = path.relative_to(folder).parts
    return parts[0] if _is(folder, ANOMALOUS_NAMES) and len(parts) > 1 else folder.name


def _choose_mask(image: Path, fitting: Sequence[_Mask]) -> Path | None:
    """The mask in the image's own folder before one that lies flat.

    Raises:
        ValueError: If two masks fit equally well.
    """
    best = [mask.path for mask in fitting if mask.folders] or [mask.path for mask in fitting]
    if len(best) > 1:
        raise ValueError(
            f"expected one mask for {image}, got {shown(best)}; keep one, in a folder named as "
            "the defect's"
        )
    return best[0] if best else None


def _refuse_shared_masks(samples: Sequence[Sample]) -> None:
    first: dict[Path, Sample] = {}
    for sample in samples:
        if sample.mask_path is None:
            continue
        other = first.setdefault(sample.mask_path, sample)
        if other is not sample:
            raise ValueError(
                f"expected one image per mask, got {other.image_path} and {sample.image_path} for "
                f"{sample.mask_path}; put masks into one folder per defect, named as the defect's"
            )


def _classes_and_masks(folder: Path) -> tuple[list[Path], list[_Mask]]:
    """Folders with images that are not mask folders, and all mask files."""
    inner = _folders_with_images(folder)
    masks = []
    for mask_folder in (f for f in inner if _is(f, MASK_NAMES)):
        for path in list_images(mask_folder, nested=True):
            parts = path.parent.relative_to(mask_folder).parts
            masks.append(_Mask(path, tuple(_plain(Path(part)) for part in parts)))
    return [f for f in inner if not _is(f, MASK_NAMES)], masks


def _count_used(layout: CategoryLayout, masks: Sequence[_Mask]) -> int:
    samples = (*layout.train, *layout.validation, *layout.test, *layout.unsplit)
    used = {sample.mask_path for sample in samples}
    return sum(mask.path in used for mask in masks)


def _names_its_folders(folder: Path) -> bool:
    return any(_is(f, SPLIT_NAMES | NORMAL_NAMES) for f in _folders_with_images(folder))


def _folders_with_images(folder: Path) -> list[Path]:
    return [inner for inner in list_folders(folder) if has_images(inner)]


def _plain(folder: Path) -> str:
    """The folder's name as it is compared: ``Not-OK`` and ``not ok`` are ``not_ok``."""
    return folder.name.casefold().replace("-", "_").replace(" ", "_")


def _is(folder: Path, names: frozenset[str]) -> bool:
    return _plain(folder) in names


def _ambiguous(folder: Path, what: str) -> ValueError:
    found = shown(f"{inner.name}/" for inner in list_folders(folder)) or "no folders"
    return ValueError(
        f"expected a layout that says which images are good in {folder}, got {what} "
        f"(found {found}); {_ACCEPTED}"
    )
