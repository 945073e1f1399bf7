"""Roles of videos: what hangs together by people, what is held out, how many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from clad.checks import expect_choice
from clad.data.face_clips import Clip
from clad.data.files import shown
from clad.data.overlap import expect_no_copies
from clad.samples import GOOD, Sample, Splits

REAL = "real"
_ROLES = ("train", "validation", "test")
_TEST_STREAM, _VALIDATION_STREAM = 0, 1


def components(clips: Iterable[Clip]) -> dict[str, str]:
    """Per clip (by name) the first name of all people that it hangs together with.

    Two clips hang together if a chain of clips joins them in which neighbours share a person: the
    fake ``000_003`` joins the real videos 000 and 003.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    clips = list(clips)
    for clip in clips:
        people = clip.people or (clip.name,)
        for other in people:
            first, second = sorted((find(people[0]), find(other)))
            parent[second] = first
    return {clip.name: find((clip.people or (clip.name,))[0]) for clip in clips}


def deal(
    clips: Sequence[Clip], validation_fraction: float, test_fraction: float, seed: int
) -> tuple[list[Clip], list[str]]:
    """Every clip with a role, and how it came by it; what hangs together stays together.

    Clips that have a role keep it. Of the others a share of both kinds is held out for test. Then,
    where there is no validation, a share of the real training videos with whatever hangs on them.

    Args:
        clips: All of them.
        validation_fraction: Share of the real training videos, [0, 0.9].
        test_fraction: Share of the videos without a role, [0, 0.9].
        seed: Decides who goes where.
    """
    how = []
    groups = components(clips)
    unsplit = [clip for clip in clips if not clip.role]
    if unsplit:
        held = hold_out(unsplit, groups, test_fraction, (seed, _TEST_STREAM), labels=(0, 1))
        clips = [
            c if c.role else replace(c, role="test" if c.name in held else "train") for c in clips
        ]
        how.append(f"split by seed {seed}, not official")
    train = [clip for clip in clips if clip.role == "train"]
    if train and validation_fraction and not any(clip.role == "validation" for clip in clips):
        stream = (seed, _VALIDATION_STREAM)
        held = hold_out(train, groups, validation_fraction, stream, labels=(0,))
        clips = [replace(c, role="validation") if c.name in held else c for c in clips]
        how.append(
            "validation held out of the real training videos, with the fakes made of them"
            if held
            else "no validation: all training videos hang together by their people"
        )
    return list(clips), how


def hold_out(
    clips: Sequence[Clip],
    groups: Mapping[str, str],
    fraction: float,
    seed: tuple[int, ...],
    labels: Collection[int],
) -> set[str]:
    """Names of clips in whole groups, at most a share of each kind, at least one if possible.

    Args:
        clips: What to choose from.
        groups: Per clip the name of what it hangs together with.
        fraction: Share of the clips of each label, [0, 0.9]; 0 takes none.
        seed: Decides which groups.
        labels: Kinds that are counted; clips of others go with their group.
    """
    units: dict[str, list[Clip]] = {}
    for clip in clips:
        units.setdefault(groups[clip.name], []).append(clip)

    def counts(unit: str) -> np.ndarray:
        return np.array([sum(c.label == label for c in units[unit]) for label in labels])

    total = sum((counts(unit) for unit in units), np.zeros(len(labels), dtype=int))
    budget = np.where(total > 1, np.clip(np.rint(total * fraction), 1, total - 1), 0)
    if not fraction:
        return set()
    names = sorted(units)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    taken = np.zeros(len(labels), dtype=int)
    chosen: list[str] = []
    # Groups that fit first; then, for a kind of which there is none yet, the smallest that has it.
    for unit in order:
        own = counts(unit)
        if own.any() and (taken + own <= budget).all():
            taken, chosen = taken + own, [*chosen, unit]
    for place in range(len(labels)):
        rest = [u for u in order if u not in chosen and counts(u)[place] > 0]
        rest = [u for u in rest if (taken + counts(u) < np.maximum(total, 1)).all()]
        if taken[place] == 0 and rest:
            smallest = min(rest, key=lambda u: len(units[u]))
            taken, chosen = taken + counts(smallest), [*chosen, smallest]
    return {clip.name for unit in chosen for clip in units[unit]}


def keep_methods(
    clips: Iterable[Clip], wanted: Sequence[str] | None, roles: Collection[str], option: str
) -> list[Clip]:
    """Clips without the fakes of other methods in these roles; None keeps all.

    Raises:
        ValueError: If a method is not there.
    """
    clips = list(clips)
    if wanted is None:
        return clips
    there = {clip.method for clip in clips if clip.label}
    for method in wanted:
        expect_choice(option, method, there)
    return [c for c in clips if c.role not in roles or c.label == 0 or c.method in wanted]


def describe_videos(source: str, splits: Splits) -> list[str]:
    """One sentence per role that has any: videos and frames, real and of each method."""
    sentences = []
    for role in _ROLES:
        samples: tuple[Sample, ...] = getattr(splits, role)
        if not samples:
            continue
        kinds = sorted({s.defect_type for s in samples}, key=lambda kind: (kind != GOOD, kind))
        parts = [_count(kind, [s for s in samples if s.defect_type == kind]) for kind in kinds]
        faceless = sum(s.origin is not None and not s.origin.has_face for s in samples)
        end = f"; {faceless} of {len(samples)} images without a face" if faceless else ""
        sentences.append(f"{source} {role}: {', '.join(parts)}{end}.")
    return sentences


def expect_no_shared_videos(splits: Splits) -> None:
    """Refuse two roles that hold the same video by content: the middle images are compared.

    Raises:
        ValueError: With how many there are, and one of them.
    """
    middle = {role: _middle_images(getattr(splits, role)) for role in _ROLES}
    for first, second in combinations(_ROLES, 2):
        expect_no_copies(first, middle[first], second, middle[second])


def people_shared(first: Iterable[Clip], second: Iterable[Clip]) -> set[str]:
    """People that are in both."""
    return {p for c in first for p in c.people} & {p for c in second for p in c.people}


def left_out_note(source: str, what: str, clips: Sequence[Clip]) -> list[str]:
    """One sentence on clips that are left out; none if there are none."""
    if not clips:
        return []
    return [f"{source}: {len(clips)} video(s) left out, {what}: {shown(c.name for c in clips)}."]


def _count(kind: str, samples: Sequence[Sample]) -> str:
    videos = {s.origin.video for s in samples if s.origin is not None}
    frames = {s.origin.frame for s in samples if s.origin is not None}
    name = REAL if kind == GOOD else kind
    return f"{name} {len(videos)} videos ({len(frames)} frames)"


def _middle_images(samples: Sequence[Sample]) -> list[Sample]:
    by_video: dict[str | None, list[Sample]] = {}
    for sample in samples:
        key = sample.origin.video if sample.origin else str(sample.image_path)
        by_video.setdefault(key, []).append(sample)
    return [found[len(found) // 2] for found in by_video.values()]
