"""``clad forge SOURCE --output DIR``: a data set of forged faces from a folder of real ones."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clad.cli.config_files import check_files
from clad.cli.errors import DONE, Parser, UsageError

if TYPE_CHECKING:
    from clad.synthesis.base import FaceSynthesizer

_FOLDER = Path("configs") / "forgery"
_DEFAULT = ("self_blended.yaml", "face_xray.yaml", "landmark_swap.yaml", "part_swap.yaml")
_ROLES = ("train", "validation", "test")
_REAL = "real"


def run(verb: str, arguments: list[str]) -> int:
    """Forge, write, and print how many images of what kind there are.

    Raises:
        FileNotFoundError: If the source, its landmarks or a configuration is missing.
        ValueError: If something is not as expected, e.g. the output folder is not empty.
    """
    wanted = _parser(verb).parse_args(arguments)
    files = wanted.config or default_files()
    check_files(files)

    # What is imported here takes longer than everything above.
    from clad.data.forging import ForgePlan, forge_folder
    from clad.data.people import list_faces

    plan = ForgePlan(
        source=wanted.source,
        output=wanted.output,
        per_image=wanted.per_image,
        seed=wanted.seed,
        size=wanted.size,
        crop=wanted.crop,
        roles=tuple(wanted.roles),
        per_person=wanted.per_person,
    )
    generators = read_generators(files)
    samples, num_without = list_faces(plan.source)
    people = {sample.group for sample in samples}
    print(f"source: {len(samples):,} faces of {len(people):,} people", flush=True)
    if num_without:
        print(f"images without landmarks, left out: {num_without:,}")
    width = max(map(len, [_REAL, *generators]))
    for written in forge_folder(plan, generators):
        print(
            f"{written.role:<10}  {written.method:<{width}}  {written.num_images:>6,} images of "
            f"{written.num_people:,} people",
            flush=True,
        )
        if written.refused:
            print(f"  {len(written.refused):,} could not be forged, e.g. {written.refused[0]}")
    print(f"written to {plan.output}, seed {plan.seed}")
    return DONE


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"clad {verb}",
        description="Forge faces with exact masks from real ones. SOURCE holds landmarks.csv "
        "(image,x0,y0,...,x67,y67) and one folder of images per person. People are split into "
        "train, validation and test (60, 20, 20 %); donors are of the same role.",
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder of real faces")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="new or empty folder to write"
    )
    parser.add_argument(
        "--config",
        metavar="YAML",
        type=Path,
        nargs="+",
        action="extend",
        help="generators; the name of the file names the method. Default: "
        + ", ".join(str(_FOLDER / name) for name in _DEFAULT),
    )
    parser.add_argument(
        "--per-image",
        metavar="N",
        type=int,
        default=1,
        help="forged images per real one and method; default 1",
    )
    parser.add_argument(
        "--per-person",
        metavar="N",
        type=int,
        help="most images of one person, evenly spaced; default all",
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=42, help="decides everything random; default 42"
    )
    parser.add_argument(
        "--size", metavar="PX", type=int, default=256, help="sides of the images; default 256"
    )
    parser.add_argument(
        "--crop",
        metavar="FACTOR",
        type=float,
        default=1.3,
        help="side of the square around each face, in longer sides of the box of its landmarks; "
        "0 takes whole images; default 1.3",
    )
    parser.add_argument(
        "--roles",
        nargs="+",
        choices=_ROLES,
        default=list(_ROLES),
        help="which are written; default all",
    )
    return parser


def default_files() -> list[Path]:
    """The generators beside the package (a clone), else below this folder.

    Raises:
        FileNotFoundError: If they are in neither place.
    """
    for place in (Path(__file__).parents[2], Path()):
        files = [place / _FOLDER / name for name in _DEFAULT]
        if all(path.is_file() for path in files):
            return files
    raise FileNotFoundError(
        f"expected {_FOLDER} beside the package or here, found none; name generators with --config"
    )


def read_generators(files: Sequence[Path]) -> dict[str, FaceSynthesizer]:
    """Generators by the name of their file.

    Raises:
        UsageError: If a file has no ``data.synthesis`` that forges faces, or two have one name.
    """
    generators: dict[str, FaceSynthesizer] = {}
    for path in files:
        if path.stem == _REAL or path.stem in generators:
            raise UsageError(
                f"expected configurations of different names, other than {_REAL}, got {path}; a "
                "method is named by its file, rename it"
            )
        generators[path.stem] = _read(path)
    return generators


def _read(path: Path) -> FaceSynthesizer:
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    from clad.cli.config_errors import Vocabulary, explain
    from clad.synthesis.base import FaceSynthesizer

    data = yaml.safe_load(path.read_text(encoding="utf-8")).get("data")
    settings = data.get("synthesis") if isinstance(data, dict) else None
    if settings is None:
        raise UsageError(f"expected data.synthesis in {path}, got none; see the files of {_FOLDER}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--synthesis", type=FaceSynthesizer)
    try:
        built: Namespace = parser.instantiate_classes(parser.parse_object({"synthesis": settings}))
    except ArgumentError as error:
        words = Vocabulary("clad forge", ["synthesis"], {})
        raise UsageError(f"{explain(str(error), words)} ({path})") from error
    generator: FaceSynthesizer = built.synthesis
    return generator
