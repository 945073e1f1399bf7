from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clad.data.face_clips import Clip, evenly_spaced, frames_of, refuse_without_frames, samples_of
from clad.data.face_splits import components, deal, hold_out
from clad.data.face_tables import FaceTables, read_people, read_tables
from clad.data.tiny import save
from clad.faces.index import FaceRow, write_index, write_landmarks


def pixels(path, size=(8, 8), value=0):
    save(np.full((*size, 3), value, dtype=np.uint8), path)


def clip_of(root, name="v", **options):
    return Clip(name, root / name, options.pop("label", 0), **options)


def row(image, source, frame, **options):
    is_video = source.endswith(".mp4")
    return FaceRow(image, source, is_video, frame, 0, 0, 0, 8, 8, 16, 16, **options)


@pytest.mark.parametrize(
    ("number", "expected"),
    # numpy.linspace(0, 9, n), rounded, worked out by hand.
    [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (5, [0, 2, 4, 7, 9]), (10, [*range(10)])],
)
def test_evenly_spaced_frames(number, expected):
    assert evenly_spaced(range(10), number) == expected


def test_all_frames_without_a_number_or_where_there_are_fewer():
    assert evenly_spaced("abc", None) == ["a", "b", "c"]
    assert evenly_spaced("abc", 99) == ["a", "b", "c"]


def test_frames_go_by_number_and_hold_all_their_faces(tmp_path):
    for name in ("10_0", "9_0", "9_1"):
        pixels(tmp_path / "v" / f"{name}.png")
    found = frames_of(clip_of(tmp_path), FaceTables(tmp_path))
    assert [(frame, [p.stem for p in paths]) for frame, paths in found] == [
        ("9", ["9_0", "9_1"]),
        ("10", ["10_0"]),
    ]
    samples = samples_of(clip_of(tmp_path), "g", "face", FaceTables(tmp_path), 1)
    assert [s.image_path.stem for s in samples] == ["9_0", "9_1"]
    assert {(s.origin.frame, s.origin.video, s.origin.has_face) for s in samples} == {
        ("v#9", "v", True)
    }


def test_faces_csv_says_frame_and_whether_there_is_a_face(tmp_path):
    pixels(tmp_path / "v/000003_0.png")
    pixels(tmp_path / "v/000007_0.png")
    rows = [
        row("v/000003_0.png", "v.mp4", 3),
        row("v/000007_0.png", "v.mp4", 8, confidence=0, has_face=False),
    ]
    write_index(tmp_path / "faces.csv", rows)
    points = np.arange(136, dtype=np.float32).reshape(68, 2)
    write_landmarks(tmp_path / "landmarks.csv", {"v/000003_0.png": points})
    first, second = samples_of(clip_of(tmp_path), "g", "face", read_tables(tmp_path), None)
    assert (first.origin.frame, first.origin.has_face) == ("v#000003", True)
    assert (second.origin.frame, second.origin.has_face) == ("v#000008", False)
    np.testing.assert_array_equal(first.landmarks, points)
    assert second.landmarks is None


def test_faces_of_stored_frames_are_frames_of_their_folder(tmp_path):
    for frame in ("007", "008"):
        pixels(tmp_path / f"v/{frame}/000000_0.png")
    rows = [row(f"v/{f}/000000_0.png", f"v/{f}.png", 0) for f in ("007", "008")]
    write_index(tmp_path / "faces.csv", rows)
    samples = samples_of(clip_of(tmp_path), "g", "face", read_tables(tmp_path), None)
    assert [(s.origin.frame, s.origin.video) for s in samples] == [("v#007", "v"), ("v#008", "v")]


def test_five_points_are_not_the_landmarks_of_samples(tmp_path):
    write_landmarks(tmp_path / "landmarks.csv", {"a.png": np.zeros((5, 2), np.float32)})
    tables = read_tables(tmp_path)
    assert tables.points(tmp_path / "a.png") is None
    assert tables.notes == ("landmarks.csv has 5 points per face; samples carry 68 or none",)


def test_masks_are_found_by_name_if_they_have_the_size_of_the_image(tmp_path):
    for i in range(2):
        pixels(tmp_path / f"v/{i}.png")
        pixels(tmp_path / f"fit/{i}_mask.png", value=255)
        pixels(tmp_path / f"large/{i}.png", size=(16, 16), value=255)
    fit = clip_of(tmp_path, label=1, mask_folder=tmp_path / "fit")
    found = samples_of(fit, "g", "face", FaceTables(tmp_path), None)
    assert [s.mask_path.name for s in found] == ["0_mask.png", "1_mask.png"]
    large = clip_of(tmp_path, label=1, mask_folder=tmp_path / "large")
    assert {s.mask_path for s in samples_of(large, "g", "face", FaceTables(tmp_path), None)} == {
        None
    }


def test_masks_that_were_searched_for_faces_are_none(tmp_path):
    pixels(tmp_path / "v/000000_0.png")
    pixels(tmp_path / "m/000000_0.png", value=255)
    write_index(tmp_path / "faces.csv", [row("m/000000_0.png", "m.mp4", 0)])
    clip = clip_of(tmp_path, label=1, mask_folder=tmp_path / "m")
    (sample,) = samples_of(clip, "g", "face", read_tables(tmp_path), None)
    assert sample.mask_path is None


def test_videos_alone_are_refused_with_the_command(tmp_path):
    root = tmp_path / "data"
    (root / "a").mkdir(parents=True)
    (root / "a" / "x.MP4").touch()
    message = str(refuse_without_frames(root / "a", root))
    assert "got 1 video(s), e.g. x.MP4" in message
    assert f"run: clad faces {root} --output {root}_faces" in message
    (root / "a" / "x.MP4").unlink()
    assert "found no image; check data.root" in str(refuse_without_frames(root, root))


def test_people_table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("image,person\na/0.png,anna\na/1.png,anna\n")
    assert read_people(path) == {"a/0.png": "anna", "a/1.png": "anna"}
    path.write_text("image,person\na/0.png,anna\na/0.png,bert\n")
    with pytest.raises(ValueError, match=r"anna, as in .* column person, line 3 .* got 'bert'"):
        read_people(path)


def clips(*people, label=0, prefix="c"):
    return [
        Clip(f"{prefix}{i}", Path(f"{prefix}{i}"), label, people=who)
        for i, who in enumerate(people)
    ]


def test_chains_of_people_hang_together():
    found = components(clips(("b",), ("c", "b"), ("d", "c"), ("x",), ("y", "x"), ()))
    assert found == {"c0": "b", "c1": "b", "c2": "b", "c3": "x", "c4": "x", "c5": "c5"}


def test_held_out_groups_are_whole_and_never_everything():
    every = clips(*[(f"p{i // 2}",) for i in range(20)])
    groups = components(every)
    held = hold_out(every, groups, 0.2, (0,), labels=(0,))
    assert len(held) == 4
    assert len({groups[name] for name in held}) == 2
    assert held == hold_out(every, groups, 0.2, (0,), labels=(0,))
    assert any(held != hold_out(every, groups, 0.2, (s,), labels=(0,)) for s in range(1, 9))
    assert not hold_out(every, groups, 0, (0,), labels=(0,))
    assert len(hold_out(every[:2], {"c0": "a", "c1": "b"}, 0.9, (0,), labels=(0,))) == 1


def test_a_large_group_is_not_held_out_while_small_ones_are_there():
    every = [*clips(*[("crowd",)] * 30), *clips(("x",), ("y",), prefix="d")]
    for seed in range(10):
        held = hold_out(every, components(every), 0.1, (seed,), labels=(0,))
        assert held == {"d0", "d1"}


def test_dealing_holds_out_both_kinds_for_test_and_real_ones_for_validation():
    pairs = [(f"p{i}",) for i in range(10)]
    every = [*clips(*pairs), *clips(*pairs, label=1, prefix="f")]
    dealt, how = deal(every, 0.25, 0.2, seed=0)
    numbers = {
        role: [sum(c.role == role and c.label == label for c in dealt) for label in (0, 1)]
        for role in ("train", "validation", "test")
    }
    assert numbers == {"train": [6, 6], "validation": [2, 2], "test": [2, 2]}
    people = [{c.people for c in dealt if c.role == role} for role in numbers]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    assert how[0] == "split by seed 0, not official"


def test_no_validation_where_all_hang_together():
    every = [replace(c, role="train") for c in clips(("a",), ("a",))]
    dealt, how = deal(every, 0.5, 0.2, seed=0)
    assert {c.role for c in dealt} == {"train"}
    assert how == ["no validation: all training videos hang together by their people"]
