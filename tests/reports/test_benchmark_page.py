"""The page of a month: sections by name, renewed in place, without places of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clad.reports.benchmark_page import public_command, section, update_page


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "table": [["", "s"], ["a|b", "2"], ["clad", "1"]],
        "notes": ["2 threads"],
        "machine": "a machine",
        "versions": "Python 3.11",
        "date": "2026-11-23",
        "command": "python benchmarks/x.py --rounds 3",
        "claims": [
            {"sentence": "time: 2 x, claimed at least 1 x: reached"},
            {"sentence": "memory: 3 x"},
        ],
        **changes,
    }


def test_section_holds_everything() -> None:
    assert section("x", "ours is faster", facts()) == (
        "## x\n\nours is faster.\n\n"
        "```bash\npython benchmarks/x.py --rounds 3\n```\n\n"
        "|  | s |\n| --- | ---: |\n| a\\|b | 2 |\n| clad | 1 |\n\n"
        "2 threads\n\n"
        "- time: 2 x, claimed at least 1 x: **reached**\n- memory: 3 x\n\n"
        "2026-11-23; a machine; Python 3.11."
    )
    missing = section("x", "ours is faster", {"not_measured": "no CUDA device"})
    assert missing.endswith("Not measured: no CUDA device.")


def test_sections_are_renewed_in_place_and_others_stay(tmp_path: Path) -> None:
    page = update_page(tmp_path / "pages", "second", "b", facts())
    assert page.name == "2026-11_claims.md"
    assert page.read_text().startswith("# Benchmarks, November 2026: claims\n\nWritten by")
    page.write_text(page.read_text().replace("Written by", "My own words. Written by"))
    update_page(page.parent, "first", "a", facts(notes=["old note"]))
    update_page(page.parent, "first", "a", facts(notes=["new note"]))
    text = page.read_text()
    assert text.count("My own words.") == 1
    assert text.count("## first") == text.count("## second") == 1
    assert text.index("## first") < text.index("## second")
    assert "old note" not in text
    assert "new note" in text
    before = text
    update_page(page.parent, "first", "a", facts(notes=["new note"]))
    assert page.read_text() == before, "the same result changes nothing"


def test_commands_hold_no_place_of_this_machine() -> None:
    command = "python benchmarks/x.py --data /some/where --output=/else/where/b --name 'a b' 3"
    assert public_command(command) == (
        "python benchmarks/x.py --data DIR --output=DIR --name 'a b' 3"
    )
