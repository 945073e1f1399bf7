"""The lint finds planted biases of files, and nothing where there is none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from clad.data.file_facts import FileFacts, jpeg_quality, read_facts
from clad.data.overlap import find_duplicates
from clad.data.reencode import reencode
from clad.protocols.lint import bootstrap_by_unit, predict_out_of_fold, score_facts
from clad.protocols.sharing import find_shared
from clad.samples import Sample, Splits

PLAIN = FileFacts(".png", "PNG", "RGB", "none", math.nan, 5000, 64, 64, False, False)


def files(rng: np.random.Generator, count: int, **changes: object) -> list[FileFacts]:
    """Facts of files of the same kind, their lengths at random."""
    return [
        FileFacts(**{**vars(PLAIN), "num_bytes": int(rng.integers(4000, 6000)), **changes})
        for _ in range(count)
    ]


def scored(real: list[FileFacts], fake: list[FileFacts]):
    labels = [0] * len(real) + [1] * len(fake)
    return score_facts([*real, *fake], labels, [str(n) for n in range(len(labels))])


PLANTED = {
    "format": {"suffix": ".jpg", "format": "JPEG", "jpeg_quality": 90.0},
    "suffix": {"suffix": ".jpeg"},
    "jpeg quality": {"jpeg_quality": 75.0},
    "chroma subsampling": {"chroma": "4:2:0"},
    "exif": {"has_exif": True},
    "colour mode": {"mode": "P"},
    "width": {"width": 128},
}


@pytest.mark.parametrize(("fact", "change"), PLANTED.items(), ids=PLANTED)
def test_a_planted_bias_is_found_and_named(fact: str, change: dict) -> None:
    rng = np.random.default_rng(0)
    found = scored(files(rng, 60), files(rng, 60, **change))
    assert found.together.auroc > 0.99
    assert found.gives_away
    assert not found.is_by_content
    assert found.without_bytes.auroc > 0.99
    assert {each.name: each.auroc for each in found.facts}[fact] == 1
    assert fact in [each.name for each in found.telling]
    assert "height" not in [each.name for each in found.telling]


def test_a_bias_of_some_files_is_found() -> None:
    rng = np.random.default_rng(1)
    fake = [*files(rng, 40), *files(rng, 60, has_exif=True)]
    found = scored(files(rng, 100), fake)
    exif = next(each for each in found.facts if each.name == "exif")
    assert exif.auroc == pytest.approx(0.8, abs=0.02)
    assert 0.7 < exif.interval.low < 0.8 < exif.interval.high < 0.86
    assert found.telling == (exif,)


def test_lengths_alone_may_be_of_what_is_shown() -> None:
    rng = np.random.default_rng(8)
    real, fake = files(rng, 60), files(rng, 60)
    fake = [replace(each, num_bytes=each.num_bytes + 3000) for each in fake]
    found = scored(real, fake)
    assert found.is_by_content
    assert {each.name for each in found.telling} == {"bytes", "bytes per pixel"}
    assert found.without_bytes.auroc == 0.5


def test_a_size_that_only_the_middle_has_is_found() -> None:
    rng = np.random.default_rng(2)
    real = files(rng, 30, width=32) + files(rng, 30, width=128)
    found = scored(real, files(rng, 60, width=64))
    assert next(each.auroc for each in found.facts if each.name == "width") == 1


def test_files_alike_give_nothing_away() -> None:
    rng = np.random.default_rng(3)
    found = scored(files(rng, 150), files(rng, 150))
    assert not found.gives_away
    assert found.together.auroc == pytest.approx(0.5, abs=0.06)
    by_name = {each.name: each for each in found.facts}
    assert by_name["format"].auroc == by_name["jpeg quality"].auroc == 0.5
    assert by_name["format"].interval == (0.5, 0.5)


def test_one_class_has_no_value() -> None:
    rng = np.random.default_rng(4)
    found = score_facts(files(rng, 5), [0] * 5, list("abcde"))
    assert math.isnan(found.together.auroc)
    assert found.undefined == "no fake image"
    assert not found.gives_away
    grouped = score_facts(files(rng, 4), [0, 0, 1, 1], ["a", "b", "c", "c"])
    assert grouped.undefined == "all fake images are of one group"


def test_a_video_is_never_learnt_from_and_asked_for() -> None:
    rng = np.random.default_rng(5)
    # Each video has a size of its own, at random: known videos would be told perfectly.
    units = np.repeat([f"v{n}" for n in range(20)], 8)
    labels = np.repeat(rng.permutation([0, 1] * 10), 8)
    sizes = np.repeat(rng.permutation(20), 8).astype(float)[:, None]
    apart = predict_out_of_fold(sizes, labels, units, seed=0)
    torn = predict_out_of_fold(sizes, labels, np.arange(160).astype(str), seed=0)
    assert roc_auc_score(labels, torn) > 0.95
    assert roc_auc_score(labels, apart) < 0.75


def test_intervals_are_wider_over_few_videos() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1] * 10, 10)
    scores = labels + rng.normal(0, 1.5, 20).repeat(10)
    of_videos = bootstrap_by_unit(scores, labels, np.repeat(np.arange(20), 10), 0)
    of_files = bootstrap_by_unit(scores, labels, np.arange(200), 0)
    assert of_videos.high - of_videos.low > 1.5 * (of_files.high - of_files.low)
    assert of_files.low < roc_auc_score(labels, scores) < of_files.high


class TestFacts:
    """Facts of files that Pillow wrote."""

    def picture(self) -> Image.Image:
        values = np.random.default_rng(0).integers(0, 255, (24, 40, 3)).astype(np.uint8)
        return Image.fromarray(values)

    @pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 75, 90, 95, 100])
    def test_jpeg_quality_is_the_one_it_was_saved_with(self, tmp_path: Path, quality: int) -> None:
        self.picture().save(tmp_path / "a.JPG", quality=quality)
        found = read_facts(tmp_path / "a.JPG")
        assert found.jpeg_quality == quality
        assert (found.suffix, found.format, found.mode) == (".jpg", "JPEG", "RGB")

    def test_of_a_jpeg(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[271] = "maker"
        for chroma in ("4:4:4", "4:2:2", "4:2:0"):
            path = tmp_path / "a.jpg"
            self.picture().save(path, subsampling=chroma, exif=exif, progressive=True)
            found = read_facts(path)
            assert (found.chroma, found.has_exif, found.is_progressive) == (chroma, True, True)
        self.picture().convert("L").save(path)
        assert (read_facts(path).chroma, read_facts(path).mode) == ("none", "L")

    def test_of_a_png_with_a_wrong_name(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        self.picture().save(path, "PNG")
        found = read_facts(path)
        assert (found.suffix, found.format, found.chroma) == (".jpg", "PNG", "none")
        assert math.isnan(found.jpeg_quality)
        assert (found.width, found.height) == (40, 24)
        assert found.bytes_per_pixel == path.stat().st_size / 960
        assert not found.has_exif

    def test_tables_of_others_get_the_nearest_quality(self) -> None:
        flat = {0: [1] * 64, 1: [1] * 64}
        assert jpeg_quality(flat) == 100
        assert math.isnan(jpeg_quality({}))

    def test_what_is_no_image_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("no")
        with pytest.raises(ValueError, match=r"expected an image, got something else at .*a\.png"):
            read_facts(tmp_path / "a.png")
        with pytest.raises(FileNotFoundError, match="found nothing at"):
            read_facts(tmp_path / "b.png")


class TestSharing:
    """Copies and groups."""

    def samples(self, folder: Path) -> dict[str, Sample]:
        contents = {
            "a": "one",
            "b": "one",
            "c": "two",
            "d": "two",
            "e": "six",
            "f": "six",
            "g": "ten",
        }
        for name, text in contents.items():
            (folder / name).write_text(text)
        labels = dict.fromkeys("abcdefg", 0) | {"b": 1}
        groups = {"a": "p", "b": "q", "c": "q"}
        return {n: Sample(folder / n, labels[n], "face", group=groups.get(n)) for n in contents}

    def test_copies_are_sorted_by_what_they_spoil(self, tmp_path: Path) -> None:
        s = self.samples(tmp_path)
        splits = Splits((s["a"], s["b"], s["c"]), (), (s["d"], s["e"], s["f"], s["g"]))
        found = find_shared(splits)
        assert found.across_labels == ((s["a"], s["b"]),)
        assert found.across_roles == ((s["c"], s["d"]),)
        assert found.within == ((s["e"], s["f"]),)
        assert found.is_wrong
        assert found.groups == ()
        assert found.num_without_group == 4

    def test_groups_and_files_in_two_roles(self, tmp_path: Path) -> None:
        s = self.samples(tmp_path)
        found = find_shared(Splits((s["b"], s["g"]), (s["c"],), (s["g"],)))
        assert found.groups == ("q",)
        assert found.across_roles == ((s["g"], s["g"]),)
        assert not find_shared(Splits((s["e"], s["f"]), (), (s["g"],))).is_wrong

    def test_duplicates_are_groups_in_order(self, tmp_path: Path) -> None:
        paths = [s.image_path for s in self.samples(tmp_path).values()]
        assert [[p.name for p in g] for g in find_duplicates(paths)] == [
            ["a", "b"], ["c", "d"], ["e", "f"],
        ]  # fmt: skip


class TestReencode:
    """One size and one encoding for all."""

    def made(self, root: Path) -> list[Sample]:
        rng = np.random.default_rng(0)
        samples = []
        for number, name in enumerate(("real/a.png", "real/b.jpg", "fake/c.bmp")):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (20 + 9 * number, 30, 3)
            Image.fromarray(rng.integers(0, 255, size).astype(np.uint8)).save(path)
            samples.append(Sample(path, int("fake" in name), "face"))
        return samples

    @pytest.mark.parametrize(("encoding", "kind"), [("png", "PNG"), ("jpeg", "JPEG")])
    def test_copies_are_alike(self, tmp_path: Path, encoding, kind) -> None:
        samples = self.made(tmp_path / "data")
        assert reencode(samples, tmp_path / "data", tmp_path / "copy", (16, 24), encoding) == 3
        suffix = ".png" if encoding == "png" else ".jpg"
        found = [
            read_facts(tmp_path / "copy" / f"{n}{suffix}") for n in ("real/a", "real/b", "fake/c")
        ]
        assert {(f.format, f.width, f.height, f.mode, f.has_exif) for f in found} == {
            (kind, 24, 16, "RGB", False)
        }
        if kind == "JPEG":
            assert {(f.jpeg_quality, f.chroma) for f in found} == {(95, "4:4:4")}

    def test_what_would_be_lost_is_refused(self, tmp_path: Path) -> None:
        samples = self.made(tmp_path / "data")
        root = tmp_path / "data"
        with pytest.raises(ValueError, match="expected a new folder for the copies, found files"):
            reencode(samples, root, root, (8, 8), "png")
        with pytest.raises(ValueError, match="expected a folder for the copies outside of"):
            reencode(samples, root, root / "copy", (8, 8), "png")
        with pytest.raises(ValueError, match=r"expected files in .*, got .*a\.png; name"):
            reencode(samples, tmp_path / "other", tmp_path / "copy", (8, 8), "png")
        twin = root / "real" / "a.jpg"
        Image.new("RGB", (4, 4)).save(twin)
        with pytest.raises(ValueError, match="names that differ in more than their suffix, got"):
            reencode([*samples, Sample(twin, 0, "face")], root, tmp_path / "copy", (8, 8), "png")
