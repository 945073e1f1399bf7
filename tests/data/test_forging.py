"""A folder of real faces -> a data set: who goes where, what is written, what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from drawn_faces import drawn_face

from clad.data.donors import DonorPool
from clad.data.forging import ForgePlan, forge_folder
from clad.data.images import decode_image, decode_mask, stored_size
from clad.data.tiny import save
from clad.faces.index import read_landmarks, write_landmarks
from clad.synthesis.base import FaceSynthesizer, Forgery

NUM_PEOPLE, NUM_FRAMES = 10, 2


class Paste(FaceSynthesizer):
    """The middle of a donor; brightens everything unless it is bare."""

    def __init__(self, bright=60):
        self.bright = bright

    def bare(self):
        return Paste(0)

    def forge(self, face, donors, rng):
        donor = donors.draw(face, rng)
        mask = np.zeros(face.image.shape[:2], dtype=bool)
        top = int(rng.integers(4, 12))
        mask[top : top + 8, 8:24] = True
        real = face.image + np.uint8(self.bright)
        return Forgery(np.where(mask[..., None], donor.image, real), mask, real)


class Brightens(Paste):
    def bare(self):
        return self


class RefusesSome(Paste):
    def bare(self):
        return self

    def forge(self, face, donors, rng):
        if face.person in ("person_001", "person_004"):
            raise ValueError(f"nothing to forge of {face.person}")
        return Paste(0).forge(face, donors, rng)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    table = {}
    for person in range(NUM_PEOPLE):
        for frame in range(NUM_FRAMES):
            name = f"person_{person:03d}/{frame:02d}.jpg"
            face = drawn_face(person, (60, 80), turn=0.1 * frame, share=0.3)
            save(face.image, root / name)
            table[name] = face.landmarks
    save(drawn_face(0, (60, 80)).image, root / "person_000/without.jpg")
    write_landmarks(root / "landmarks.csv", table)
    return root


def run(source, output, generators=None, **settings):
    plan = ForgePlan(source, output, size=32, **settings)
    return list(forge_folder(plan, generators or {"paste": Paste()}))


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "new"
    return output, run(source, output, {"paste": Paste(), "again": Paste()}, per_image=2)


def test_counts_are_those_of_the_files(made):
    output, written = made
    assert [(w.role, w.method, w.num_images, w.num_people) for w in written] == [
        ("train", "real", 12, 6), ("train", "paste", 24, 6), ("train", "again", 24, 6),
        ("validation", "real", 4, 2), ("validation", "paste", 8, 2), ("validation", "again", 8, 2),
        ("test", "real", 4, 2), ("test", "paste", 8, 2), ("test", "again", 8, 2),
    ]  # fmt: skip
    for each in written:
        folder = "real" if each.method == "real" else f"fake/{each.method}"
        assert len(list((output / each.role / folder).iterdir())) == each.num_images
        if each.method != "real":
            fakes = {path.name for path in (output / each.role / folder).iterdir()}
            masks = {path.name for path in (output / each.role / "mask" / each.method).iterdir()}
            assert fakes == masks


def test_people_are_in_one_role_and_in_the_table(made):
    output, _ = made
    with (output / "people.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {
        path.relative_to(output).as_posix()
        for path in output.rglob("*.png")
        if "mask" not in path.relative_to(output).parts
    }
    roles = {}
    for row in rows:
        role = row["image"].split("/")[0]
        assert roles.setdefault(row["person"], role) == role
        assert row["image"].split("/")[-1].startswith(row["person"])
    assert len(roles) == NUM_PEOPLE


def test_fakes_differ_from_their_photo_in_the_mask_only(made):
    output, _ = made
    for fake in sorted(output.glob("*/fake/*/*.png"))[::5]:
        role, _, method, name = fake.relative_to(output).parts
        real = decode_image(output / role / "real" / f"{name.removesuffix('.png')[:13]}.png")
        mask = decode_mask(output / role / "mask" / method / name)
        image = decode_image(fake)
        assert mask.sum() == 8 * 16
        np.testing.assert_array_equal(image[~mask], real[~mask])
        assert (image[mask] != real[mask]).mean() > 0.8


def test_real_and_fake_files_are_encoded_alike(made):
    output, _ = made
    heads = {path.read_bytes()[:29] for path in output.rglob("*.png") if "mask" not in path.parts}
    assert len(heads) == 1  # signature, size, bit depth, colour type, and how it is packed
    assert {stored_size(path) for path in output.rglob("*.png")} == {(32, 32)}


def test_landmarks_lie_on_the_same_features_after_the_crop(made, source):
    output, _ = made
    table = read_landmarks(output / "landmarks.csv")
    assert set(table) == {p.relative_to(output).as_posix() for p in output.glob("*/real/*.png")}
    for name, points in table.items():
        assert points.shape == (68, 2)
        extent = np.ptp(points, axis=0).max()
        assert extent == pytest.approx(32 / 1.3, rel=0.06)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        np.testing.assert_allclose(middle, 15.5, atol=0.8)
        stored = read_landmarks(source / "landmarks.csv")
        person, frame = name.split("/")[-1][:10], name[-6:-4]
        original = stored[f"{person}/{frame}.jpg"]
        ratio = np.ptp(points, axis=0) / np.ptp(original, axis=0)
        np.testing.assert_allclose(ratio, ratio[0], rtol=0.01)


def test_same_seed_gives_same_bytes_and_roles_alone_are_the_same_as_with_others(
    made, source, tmp_path
):
    output, _ = made
    generators = {"paste": Paste()}
    run(source, tmp_path / "one", generators, roles=("test",))
    run(source, tmp_path / "two", generators, roles=("test",))
    one, two, whole = files(tmp_path / "one"), files(tmp_path / "two"), files(output)
    assert one == two
    assert one.keys() - {"landmarks.csv", "people.csv"} <= whole.keys()
    for name, content in one.items():
        assert name.endswith(".csv") or whole[name] == content
    run(source, tmp_path / "other", generators, seed=7, roles=("test",))
    assert files(tmp_path / "other") != one


def test_donors_are_of_the_same_role(source, tmp_path, monkeypatch):
    seen = []
    original = DonorPool.__init__

    def note(self, samples, load):
        seen.append({(s.image_path.relative_to(tmp_path).parts[1], s.group) for s in samples})
        original(self, samples, load)

    monkeypatch.setattr(DonorPool, "__init__", note)
    run(source, tmp_path / "new")
    assert [{role for role, _ in each} for each in seen] == [{"train"}, {"validation"}, {"test"}]
    people = [{person for _, person in each} for each in seen]
    assert sum(map(len, people)) == len(set.union(*people)) == NUM_PEOPLE


def test_faces_that_cannot_be_forged_are_told_and_left_out(source, tmp_path):
    written = run(source, tmp_path / "new", {"some": RefusesSome(0)})
    refused = [sentence for each in written for sentence in each.refused]
    assert (
        sorted(refused)
        == ["nothing to forge of person_001"] * 2 + ["nothing to forge of person_004"] * 2
    )
    assert sum(each.num_images for each in written if each.method == "some") == 16


def test_one_person_alone_in_a_role_is_refused(source, tmp_path):
    few = tmp_path / "few"
    table = {}
    for name, points in read_landmarks(source / "landmarks.csv").items():
        if name < "person_003":
            save(decode_image(source / name), few / name)
            table[name] = points
    write_landmarks(few / "landmarks.csv", table)
    with pytest.raises(ValueError, match="of train by paste, got none: expected faces of more "):
        run(few, tmp_path / "new")


def rewrite(source, target, change):
    table = read_landmarks(source / "landmarks.csv")
    write_landmarks(target / "landmarks.csv", change(table))
    return target


def test_mistakes_are_told(source, tmp_path):
    output = tmp_path / "output"
    with pytest.raises(FileNotFoundError, match="expected SOURCE to be a folder, found nothing"):
        run(tmp_path / "none", output)
    with pytest.raises(FileNotFoundError, match=r"expected the table .*landmarks\.csv, found none"):
        run(tmp_path, output)
    gone = rewrite(source, tmp_path / "a", lambda table: table)
    with pytest.raises(FileNotFoundError, match=r"landmarks\.csv names, found no .*000/00\.jpg"):
        run(gone, output)
    flat = rewrite(source, tmp_path / "b", lambda table: {"x.jpg": next(iter(table.values()))})
    with pytest.raises(ValueError, match=r"in the folder of its person, got x\.jpg"):
        run(flat, output)
    save(drawn_face(0).image, tmp_path / "c/p/0.jpg")
    five = rewrite(source, tmp_path / "c", lambda table: {"p/0.jpg": np.zeros((5, 2), np.float32)})
    with pytest.raises(ValueError, match=r"expected 68 landmarks per face in .*, got 5"):
        run(five, output)
    dot = rewrite(source, tmp_path / "c", lambda table: {"p/0.jpg": np.zeros((68, 2), np.float32)})
    with pytest.raises(ValueError, match=r"got a box of 0 x 0 px; correct them \(.*p/0\.jpg\)"):
        run(dot, output)


def test_output_must_be_new_or_empty(source, tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(ValueError, match="output folder, got a folder with something in it at"):
        run(source, tmp_path)
    with pytest.raises(ValueError, match="output folder, got a file at"):
        run(source, tmp_path / "note.txt")


def test_a_generator_that_is_not_bare_is_found_out(source, tmp_path):
    with pytest.raises(ValueError, match=r"expected Brightens\.bare\(\) to leave the real image"):
        run(source, tmp_path / "new", {"bright": Brightens()})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_image": 0}, r"per_image in \[1, 1000\], got 0"),
        ({"crop": 0.5}, r"crop in \[1, 4\], got 0.5"),
        ({"size": 8}, r"size in \[32, 4096\], got 8"),
        ({"roles": ("val",)}, "roles to be one of test, train, validation; got 'val'"),
    ],
)
def test_wrong_plans_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        ForgePlan(tmp_path, tmp_path, **settings)
