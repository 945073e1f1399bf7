"""``clad protocol NAME``: train on one data set, test on another, in one run directory."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clad.cli.config_files import check_files, files_first, named_files
from clad.cli.errors import DONE, Parser, UsageError, closest
from clad.cli.seeds import HELP as SEEDS_HELP
from clad.cli.seeds import take_seeds, train_seeds

if TYPE_CHECKING:
    from clad.cli.session import Session

_FOLDER = Path("configs", "protocols")
_ROOT_OPTION = "--data.root"


class _Protocol(NamedTuple):
    """A protocol's file and what it says.

    Args:
        path: The YAML.
        source: ``data.source`` as written there.
    """

    path: Path
    source: Mapping[str, Any]

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        """Auxiliaries, then the target; each has a name, which is its option."""
        arguments = self.source["init_args"]
        return [*arguments["auxiliary"], arguments["target"]]


def run(verb: str, arguments: list[str]) -> int:
    """Train a recipe on the auxiliary data, test it on the target, print the table.

    Raises:
        FileNotFoundError: If a configuration file or a folder is missing.
        ValueError: If the protocol, the recipe or the data is not as it should be.
    """
    command = shlex.join(["clad", verb, *arguments])
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(verb))
        return DONE
    protocol = _read(arguments[0])
    request, rest = take_seeds(verb, arguments[1:])
    given, others = _parser(verb, protocol).parse_known_args(rest)
    check_files([*named_files(others), protocol.path])
    if not named_files(others):
        raise UsageError(
            "expected a recipe to train, got no --config; name one, such as "
            "--config configs/recipes/clad_folder.yaml"
        )
    is_rooted = any(word.partition("=")[0] == _ROOT_OPTION for word in others)
    source = _with_roots(protocol, vars(given), is_rooted)
    files = files_first([*others, "--config", str(protocol.path)])
    words = [*files, f"--data.source={json.dumps(source)}"]

    if request is not None:
        train_seeds(request, words, command, lambda session: _checked_facts(session, protocol))
        return DONE

    # What is imported here takes longer than everything above.
    from clad.cli.session import open_session
    from clad.cli.stages import evaluate_test, train

    session = open_session("fit", words, command)
    try:
        session.facts |= _checked_facts(session, protocol)
    except UsageError:
        session.cli.take_back_run_dir()
        raise
    train(session)
    evaluate_test(session)
    if session.trainer.is_global_zero:
        print(f"results: {session.run_dir}")
        print(f"next: clad report {session.run_dir}")
    return DONE


def _help(verb: str) -> str:
    names = "\n".join(f"  {path.stem:<18}{_first_line(path)}" for path in _shipped())
    return (
        f"usage: clad {verb} NAME --config RECIPE --PART DIR ... [options of clad fit]\n\n"
        "Train a recipe on the test split of one data set (auxiliary: its defects and masks are\n"
        "learnt), test it on another's (target), and print the table per category. Nothing of the\n"
        "target is seen before, and no epoch is chosen on it.\n\n"
        f"protocols (or the path of a YAML like these):\n{names or '  none found'}\n\n"
        f"`clad {verb} NAME --help` lists the folders that a protocol takes.\n"
        f"{SEEDS_HELP}"
    )


def _parser(verb: str, protocol: _Protocol) -> Parser:
    parser = Parser(
        prog=f"clad {verb} {protocol.path.stem}",
        description=_first_line(protocol.path),
        epilog="Every other option is one of `clad fit`; --config names the recipe.",
        allow_abbrev=False,
    )
    names = [part["name"] for part in protocol.parts]
    for name in names[:-1]:
        parser.add_argument(
            f"--{name}",
            metavar="DIR",
            action="append",
            help="folder to learn from; may be given several times",
        )
    parser.add_argument(f"--{names[-1]}", metavar="DIR", help="folder to be tested on")
    return parser


def _read(name: str) -> _Protocol:
    """The protocol of that name, or in that file.

    Raises:
        UsageError: If there is none, or it is none.
    """
    import yaml

    shipped = {path.stem: path for path in _shipped()}
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped.get(name)
    if path is None:
        raise UsageError(
            f"expected a protocol, one of {', '.join(shipped) or 'none found'} or the path of a "
            f"YAML, got {name!r}{closest(name, shipped)}"
        )
    check_files([path])
    source = yaml.safe_load(path.read_text(encoding="utf-8")).get("data", {}).get("source", {})
    try:
        protocol = _Protocol(path, source)
        is_named = all(isinstance(part["name"], str) for part in protocol.parts)
    except (KeyError, TypeError):
        is_named = False
    if not is_named:
        raise UsageError(
            f"expected data.source of {path} with auxiliary parts and a target, each with a name, "
            f"got something else; start from a file of {_FOLDER}"
        )
    return protocol


def _with_roots(
    protocol: _Protocol, given: Mapping[str, str | list[str] | None], is_rooted: bool
) -> dict[str, Any]:
    """``data.source`` with the folders of the options; one auxiliary for each time it is given.

    Args:
        protocol: From its file.
        given: Folders by name of the part.
        is_rooted: Whether folders are seen from elsewhere than here.
    """
    source = copy.deepcopy(dict(protocol.source))
    arguments = source["init_args"]
    auxiliary = []
    for part in arguments["auxiliary"]:
        folders = given[part["name"]] or [part.get("root")]
        auxiliary += [{**part, "root": folder} for folder in folders]
    target = arguments["target"]
    target["root"] = given[target["name"]] or target.get("root")
    arguments["auxiliary"] = auxiliary
    for part in (*auxiliary, target):
        folder = part["root"]
        if folder is None:
            raise UsageError(
                f"expected a folder for {part['name']}, got none; pass --{part['name']} DIR"
            )
        if not is_rooted and not Path(folder).is_dir():
            raise FileNotFoundError(
                f"expected --{part['name']} to be a folder, found nothing at {folder}; check the "
                "path"
            )
    return source


def _checked_facts(session: Session, protocol: _Protocol) -> dict[str, Any]:
    """What goes into the run card; refuses what the protocol does not allow."""
    _expect_transferable(session)
    return {"protocol": _facts(session, protocol)}


def _expect_transferable(session: Session) -> None:
    """Refuse what cannot be trained on one data set and tested on another."""
    head, chosen = session.task.head, session.cli.config_init.trainer
    if head.knows_categories:
        raise UsageError(
            f"expected a head that can score categories it was not trained on, got "
            f"{type(head).__name__}, which keeps references or scales of each; use one that only "
            "compares with words, such as --config configs/head/patch_text.yaml"
        )
    if chosen.max_epochs in (None, -1) and chosen.max_steps == -1:
        raise UsageError(
            "expected a recipe that fixes its length, got neither trainer.max_epochs nor "
            "trainer.max_steps; set one, because no epoch may be chosen on the target"
        )
    if session.cli.checkpoint is not None:
        raise UsageError(
            f"expected to train from the start, got --ckpt_path {session.cli.checkpoint}; test "
            "finished weights with `clad test --ckpt_path`"
        )


def _facts(session: Session, protocol: _Protocol) -> dict[str, Any]:
    """What the run card says of the protocol; the fingerprints of both sides are in data.json."""
    chosen = session.cli.config_init.trainer
    return {
        "name": protocol.path.stem,
        "rule": protocol.source["init_args"].get("rule"),
        "max_epochs": chosen.max_epochs,
        "max_steps": chosen.max_steps,
    }


def _shipped() -> Sequence[Path]:
    """Protocols beside the package (a clone), else below this folder."""
    for place in (Path(__file__).parents[2], Path()):
        found = sorted((place / _FOLDER).glob("*.yaml"))
        if found:
            return found
    return []


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
