"""``clad report RUN``: writes the page of a tested run."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from clad.cli.errors import DONE, Parser


def run(verb: str, arguments: list[str]) -> int:
    """Write ``report.html`` into a run directory and print its path.

    Raises:
        FileNotFoundError: If the run directory or one of its files is missing.
        ValueError: If its files cannot be read or do not belong together.
    """
    parser = Parser(
        prog=f"clad {verb}",
        description="Write report.html into a run directory: one page that needs no other file.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder that `clad test` wrote")
    parser.add_argument("--open", action="store_true", help="show the page in a web browser")
    wanted = parser.parse_args(arguments)
    from clad.reports.html import write_report

    page = write_report(wanted.run)
    print(page)
    if wanted.open and not webbrowser.open(page.resolve().as_uri()):
        print(f"expected a web browser, found none; open {page} by hand")
    return DONE
