from __future__ import annotations

import pytest

from clad.data.celeb_df import LIST_NAME, CelebDF, read_test_list


@pytest.fixture
def root(tmp_path):
    CelebDF().write_tiny(tmp_path)
    return tmp_path


def names(samples):
    return sorted({s.image_path.parent.name for s in samples})


def move_to_list(root, *names):
    path = root / LIST_NAME
    lines = [f"{int('id1_' not in n and 'id0_id' not in n)} {n}.mp4\n" for n in names]
    path.write_text(path.read_text() + "".join(lines))


def test_the_list_decides_what_is_tested_and_one_means_real(root):
    assert (root / LIST_NAME).read_text().splitlines()[0] == "1 Celeb-real/id3_0000.mp4"
    splits = CelebDF().list_samples(root, "all", seed=0)
    assert names(s for s in splits.test if s.label == 0) == [
        "00000", "id3_0000", "id3_0001", "id4_0000", "id4_0001",
    ]  # fmt: skip
    assert names(s for s in splits.test if s.label) == [
        "id3_id4_0000", "id3_id4_0001", "id4_id3_0000", "id4_id3_0001",
    ]  # fmt: skip
    assert not {"00000"} & {n for r in (splits.train, splits.validation) for n in names(r)}
    assert "celeb_df: 9 of 9 listed test videos." in splits.notes


def test_people_who_are_tested_leave_the_training(root):
    move_to_list(root, "Celeb-real/id0_0000")
    splits = CelebDF().list_samples(root, "all", seed=0)
    fit = names((*splits.train, *splits.validation))
    assert not [name for name in fit if "id0" in name]
    assert [name for name in fit if name.startswith("id1_id2")]
    assert any("1 of 4 people of the test videos are in other" in note for note in splits.notes)
    assert any(
        note.startswith("celeb_df: 5 video(s) left out, of people who are tested: Celeb-real/id0_")
        for note in splits.notes
    )


def test_people_may_be_kept_but_never_the_source_video(root):
    move_to_list(root, "Celeb-real/id0_0000")
    splits = CelebDF(shared_people="keep").list_samples(root, "all", seed=0)
    fit = names((*splits.train, *splits.validation))
    assert "id0_id1_0001" in fit
    assert "id0_id1_0000" not in fit
    assert any(
        "1 video(s) left out, whose source video is tested: Celeb-synthesis/id0_id1_0000." in note
        for note in splits.notes
    )


def test_a_missing_list_and_swapped_labels_are_refused(root):
    path = root / LIST_NAME
    path.write_text("0 Celeb-real/id3_0000.mp4\n")
    with pytest.raises(ValueError, match=r"1 for real and 0 for fake in line 1 .* other way round"):
        CelebDF().list_samples(root, "all", seed=0)
    path.write_text("\nCeleb-real/id3_0000.mp4\n")
    with pytest.raises(ValueError, match=r"`1 Celeb-real/NAME\.mp4` in line 2"):
        read_test_list(path)
    path.write_text("1 Celeb-real/id9_0000.mp4\n")
    with pytest.raises(ValueError, match=r"found none, e\.g\. of celeb-real/id9_0000"):
        CelebDF().list_samples(root, "all", seed=0)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"the owners' list .*testing_videos\.txt"):
        CelebDF().list_samples(root, "all", seed=0)


def test_listed_videos_without_frames_are_said(root):
    move_to_list(root, "Celeb-real/id9_0000")
    splits = CelebDF().list_samples(root, "all", seed=0)
    assert (
        "celeb_df: 9 of 10 listed test videos have frames, not celeb-real/id9_0000." in splits.notes
    )


def test_frames_in_a_folder_of_their_own_are_found(root):
    before = CelebDF().list_samples(root, "all", seed=0)
    for folder in ("Celeb-real", "YouTube-real"):
        (root / folder).rename(root / "moved")
        (root / "moved").rename(root / "frames")
        (root / folder).mkdir()
        (root / "frames").rename(root / folder / "frames")
    after = CelebDF().list_samples(root, "all", seed=0)
    assert names(after.test) == names(before.test)


def test_other_names_are_refused(root):
    (root / "Celeb-real/id0_0000").rename(root / "Celeb-real/anna")
    with pytest.raises(ValueError, match=r"named like id0_0005 .*, got .*anna"):
        CelebDF().list_samples(root, "all", seed=0)
