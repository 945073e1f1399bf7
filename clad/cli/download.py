"""``clad download NAME --root DIR``: fetches a data set from its owner."""

from __future__ import annotations

from pathlib import Path

from clad.cli.errors import DONE, Parser, UsageError

_NAMES = ("mvtec_ad", "visa")


def run(verb: str, arguments: list[str]) -> int:
    """Fetch, check, unpack and count a data set; print the folder to pass on.

    Raises:
        ConnectionError: If the owner's server does not answer, with what to do by hand.
        ValueError: If the name is unknown, or what was fetched is not the owner's data.
    """
    parser = Parser(
        prog=f"clad {verb}",
        description="Fetch a data set from its owner, check its SHA-256, unpack and count it. "
        "Its licence is the owner's; see data/README.md.",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="mvtec_ad (5 GB, CC BY-NC-SA 4.0) or visa (2 GB, CC BY 4.0)",
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder to put it in; made if needed",
    )
    wanted = parser.parse_args(arguments)
    if wanted.name not in _NAMES:
        raise UsageError(f"expected one of the data sets {', '.join(_NAMES)}, got {wanted.name!r}")
    from clad.data.download import download

    root = download(wanted.name, wanted.root)
    print(f"complete in {root}; next:")
    print(f"  clad fit --config configs/recipes/clad_{wanted.name}.yaml --data.root {root}")
    return DONE
