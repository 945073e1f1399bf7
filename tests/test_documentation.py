"""The documentation points at what is there, and its example of a new part works."""

from __future__ import annotations

import re
from pathlib import Path

import check_docs
import pytest

ROOT = Path(__file__).parents[1]


def test_documentation_points_at_what_is_there() -> None:
    verbs = check_docs.known_verbs()
    configs = sorted((ROOT / "configs").rglob("*.yaml"))
    assert {"fit", "test", "demo"} <= verbs
    found = [e for p in check_docs.pages(ROOT) for e in check_docs.page_errors(p, ROOT, verbs)]
    found += [e for config in configs for e in check_docs.header_errors(config, ROOT, verbs)]
    assert not found, "\n".join(found)


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {p.relative_to(ROOT / "docs") for p in (ROOT / "docs").rglob("*.md")}
    missing = [str(page) for page in sorted(pages) if f"({page})" not in index]
    assert missing == ["README.md"], f"expected every page in docs/README.md, missing: {missing}"


def test_wrong_documentation_is_caught(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("demo: environment\n")
    (tmp_path / "there.md").write_text("# A Title, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#a-title-here) [b](gone.md) [c](there.md#no-title) [d](https://x.invalid)\n"
        "`configs/gone.yaml` `configs/my_part.yaml` `clad/*.py` and ![p](gone.png)\n"
        "```bash\n"
        "$ make demo && make nothing\n"
        "A=1 clad fit --config configs/none.yaml \\\n  --data.root DIR\n"
        "clad --help; clad fly\n"
        "```\n"
        "```python\nclad fly = 1\n```\n"
    )
    found = check_docs.page_errors(page, tmp_path, {"fit"})
    expected = (
        "gone.md",
        "#no-title",
        "gone.png",
        "make nothing",
        "none.yaml",
        "clad fly",
        "gone.y",
    )
    assert len(found) == len(expected), "\n".join(found)
    for sentence, part in zip(found, expected, strict=True):
        assert part in sentence


def test_wrong_commands_in_configurations_are_caught(tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    config.write_text(
        "# Command: clad fit --config configs/gone.yaml\n# clad is a word here\na: 1\n"
    )
    (sentence,) = check_docs.header_errors(config, tmp_path, {"fit"})
    assert "configs/gone.yaml" in sentence


def test_example_of_a_new_part_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from fakes import FakeTower, build_slot

    from clad.prompts.base import PromptStrategy

    blocks = {
        language: block
        for _, language, block in check_docs.fences((ROOT / "docs/adding-a-part.md").read_text())
    }
    (tmp_path / "my_sentence.py").write_text(blocks["python"])
    config = tmp_path / "my_sentence.yaml"
    config.write_text(re.sub(r"clad\.prompts\.(my_\w+)", r"\1", blocks["yaml"]))
    monkeypatch.syspath_prepend(tmp_path)
    strategy = build_slot(config, "prompts", PromptStrategy)
    tower = FakeTower()
    made = strategy(("bottle", "pcb1"), tower)
    texts = ["a flawless bottle", "a broken bottle", "a flawless pcb1", "a broken pcb1"]
    expected = torch.nn.functional.normalize(tower.encode_text(texts), dim=-1)
    torch.testing.assert_close(made.embeddings, expected.reshape(2, 2, -1))
