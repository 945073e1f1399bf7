"""Who may import whom, and how large a file may grow. docs/architecture.md says why."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

import pytest
from layer_rules import (
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    PACKAGE,
    ROOT,
    fence_violations,
    find_variants,
    layer_violations,
    modules,
    outside_imports,
    size_violations,
)


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return modules()


@pytest.fixture(scope="module")
def variants(sources: dict[str, str]) -> frozenset[str]:
    return find_variants(sources)


def test_variants_are_recognised(variants: frozenset[str]) -> None:
    assert {"tuning.frozen", "tuning.full"} <= variants
    assert not any(name.endswith(".base") for name in variants)


def test_imports_go_one_way(sources: dict[str, str], variants: frozenset[str]) -> None:
    found = [
        v for name, source in sources.items() for v in layer_violations(name, source, variants)
    ]
    assert not found, "\n".join(found)


def test_libraries_stay_behind_their_fence(sources: dict[str, str]) -> None:
    found = [v for name, source in sources.items() for v in fence_violations(name, source)]
    assert not found, "\n".join(found)


def test_every_module_imports_with_core_dependencies_only(sources: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    other_names = {
        "open_clip_torch": "open_clip",
        "scikit-image": "skimage",
        "scikit-learn": "sklearn",
        "opencv-python-headless": "cv2",
        "pillow": "PIL",
        "pyyaml": "yaml",
    }
    core = {other_names.get(name, name) for name in requirements} | set(sys.stdlib_module_names)
    found = [
        f"clad.{name}, line {line}: {top} is no core dependency; import it inside the function"
        for name, source in sources.items()
        for line, top in outside_imports(ast.parse(source), at_import_only=True)
        if top not in core
    ]
    assert not found, "\n".join(found)


def test_files_and_functions_stay_small() -> None:
    paths = [
        p for top in ("clad", "benchmarks", "tools", "tests") for p in (ROOT / top).rglob("*.py")
    ]
    found = [
        v for p in sorted(paths) for v in size_violations(str(p.relative_to(ROOT)), p.read_text())
    ]
    assert not found, "\n".join(found)


def test_init_files_are_empty() -> None:
    filled = [
        str(p.relative_to(ROOT)) for p in PACKAGE.rglob("__init__.py") if p.read_text().strip()
    ]
    assert not filled, f"expected empty __init__.py files, got {filled}"


KNOWN = frozenset({"prompts.single_pair", "prompts.state_ensemble", "heads.memory", "tuning.lora"})


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("types", "from clad.checks import expect_shape", "not below clad.types"),
        ("metrics.functional.auroc", "from clad.tasks.base import X", "not below clad.metrics"),
        ("losses.dice", "from clad.adapters.base import Adapter", "not below clad.losses"),
        ("data.mvtec_ad", "import clad.towers.base", "not below clad.data"),
        ("reports.html", "from clad.cli import main", "not below clad.reports"),
        ("explain.words", "def f():\n    from clad.reports import html", "not below"),
        ("prompts.mine", "from clad.prompts.single_pair import S", "a sibling variant"),
        ("prompts.mine", "from clad.prompts import single_pair", "a sibling variant"),
        ("tasks.anomaly_task", "from clad.heads.memory import Memory", "a variant"),
        ("cli.demo", "name = 'clad.tuning.lora.LoRA'", "names variant"),
        ("tasks.anomaly_task", "from clad.towers.attention import vv", "`base` only"),
        ("heads.mine", "from .base import Head", "relative import"),
        ("heads.mine", "from clad.utils import x", "in no level"),
    ],
)
def test_broken_layers_are_caught(module: str, source: str, message: str) -> None:
    found = layer_violations(module, source, KNOWN)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("checks", "from clad.types import Batch"),
        ("data.dataset", "from clad.synthesis.base import Synthesizer"),
        ("adapters.residual", "from clad.towers.base import Tower"),
        ("heads.memory", "from clad.alignment import align\nfrom clad.heads.base import Head"),
        ("prompts.mine", "from clad.prompts.words import STATES\nimport numpy"),
        ("tasks.anomaly_task", "from clad.heads.base import Head\nimport clad.metrics.report"),
        ("tasks.anomaly_task", "from clad.data.datamodule import AnomalyData"),
        ("cli.fit", "from clad.tasks.anomaly_task import AnomalyTask"),
        ("prompts.single_pair", "example = 'clad.prompts.single_pair.SinglePair'"),
    ],
)
def test_sound_layers_pass(module: str, source: str) -> None:
    assert layer_violations(module, source, KNOWN) == []


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("heads.mine", "import open_clip", "for towers only"),
        ("metrics.streaming", "from lightning.pytorch import Trainer", "data.datamodule, tasks"),
        ("data.folder", "def f():\n    import transformers.models", "for towers only"),
        ("reports.figures", "import matplotlib.pyplot as plt", "inside the function"),
    ],
)
def test_broken_fences_are_caught(module: str, source: str, message: str) -> None:
    found = fence_violations(module, source)
    assert len(found) == 1
    assert message in found[0]


def test_sound_fences_pass() -> None:
    lazy = "def draw():\n    import matplotlib.pyplot as plt\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib\n"
    assert fence_violations("reports.figures", lazy + typed) == []
    assert fence_violations("data.datamodule", "import lightning.pytorch as pl") == []


def test_long_files_and_functions_are_caught() -> None:
    body = "def long():\n" + "    x = 1\n" * MAX_FUNCTION_LINES
    assert "long has 61 lines" in size_violations("a.py", body)[0]
    assert size_violations("a.py", body.replace("    x = 1\n", "", 1)) == []
    assert "301 lines" in size_violations("a.py", "x = 1\n" * (MAX_FILE_LINES + 1))[0]


def test_variants_are_told_from_helpers() -> None:
    sources = {
        "prompts.base": "class PromptStrategy(ABC): ...",
        "prompts.words": "class Words: ...",
        "prompts.single": "class Single(base.PromptStrategy): ...",
        "prompts.family": "class Family(PromptStrategy, ABC): ...",
        "prompts.kin": "class Kin(Family):\n    @abstractmethod\n    def grow(self): ...",
        "prompts.member": "class Member(Kin): ...",
        "heads.single": "class Single(PromptStrategy): ...",
        "tasks.mine": "class Mine(PromptStrategy): ...",
    }
    assert find_variants(sources) == {"prompts.single", "prompts.member"}
