"""`clad forge`: what it prints, which generators it takes, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_faces import drawn_face

from clad.cli.errors import UsageError
from clad.cli.forge import default_files, read_generators
from clad.cli.main import main
from clad.data.tiny import save
from clad.faces.index import write_landmarks

FORGERY = Path(__file__).parents[2] / "configs" / "forgery"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    table = {}
    for person in range(10):
        face = drawn_face(person, (60, 60))
        save(face.image, root / f"p{person}/0.jpg")
        table[f"p{person}/0.jpg"] = face.landmarks
    save(face.image, root / "p0/other.jpg")
    write_landmarks(root / "landmarks.csv", table)
    return root


def test_counts_are_printed_per_role_and_method(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new"
    config = [str(FORGERY / "part_swap.yaml"), str(FORGERY / "self_blended.yaml")]
    words = ["forge", str(source), "--output", str(output), "--size", "48", "--config", *config]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "source: 10 faces of 10 people",
        "images without landmarks, left out: 1",
        "train       real               6 images of 6 people",
        "train       part_swap          6 images of 6 people",
        "train       self_blended       6 images of 6 people",
        "validation  real               2 images of 2 people",
        "validation  part_swap          2 images of 2 people",
        "validation  self_blended       2 images of 2 people",
        "test        real               2 images of 2 people",
        "test        part_swap          2 images of 2 people",
        "test        self_blended       2 images of 2 people",
        f"written to {output}, seed 42",
    ]
    assert len(list(output.rglob("*.png"))) == 10 * 5
    assert main(words) == 2
    assert "expected a new or empty output folder" in capsys.readouterr().err


def test_default_generators_are_all_but_the_mixture() -> None:
    files = {path.name for path in FORGERY.glob("*.yaml")}
    assert files - {path.name for path in default_files()} == {"forgery_mixture.yaml"}
    assert set(read_generators(default_files())) == {
        "self_blended", "face_xray", "landmark_swap", "part_swap",
    }  # fmt: skip


def test_files_that_forge_no_faces_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("data:\n  image_size: 3\n")
    with pytest.raises(UsageError, match=r"expected data\.synthesis in .*empty\.yaml, got none"):
        read_generators([empty])
    parts = FORGERY.parent / "synthesis" / "cut_paste.yaml"
    with pytest.raises(UsageError, match="expected a FaceSynthesizer for synthesis, got"):
        read_generators([parts])
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FORGERY / "part_swap.yaml").read_text().replace("margin", "margins"))
    with pytest.raises(UsageError, match=r"got 'margins'; did you mean margin\?"):
        read_generators([wrong])
    with pytest.raises(UsageError, match=r"different names, other than real, got .*part_swap"):
        read_generators([FORGERY / "part_swap.yaml", FORGERY / "part_swap.yaml"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["forge"], "required: SOURCE, --output; `clad forge --help`"),
        (["forge", "nowhere", "--output", "new"], "expected SOURCE to be a folder, found nothing"),
        (["forge", ".", "--output", "new", "--config", "no.yaml"], "configuration file at no.yaml"),
        (["forge", ".", "--output", "new", "--per-image", "0"], "per_image in [1, 1000], got 0"),
        (["forge", ".", "--output", "new", "--roles", "val"], "invalid choice: 'val'"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clad: error: ")
    assert expected in line
    assert not (tmp_path / "new").exists()
