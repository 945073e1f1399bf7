"""What `clad score` imports: seconds of every call go into what is listed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from detector_recipes import write_textures

ROOT = Path(__file__).parents[2]
HEAVY = {
    "accelerate",
    "anomalib",
    "lightning",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "open_clip",
    "pandas",
    "pyarrow",
    "pytorch_lightning",
    "scipy.stats",
    "skimage",
    "sklearn",
    "sympy",
    "timm",
    "torch._dynamo",
    "torch._inductor",
    "torchmetrics",
    "torchvision",
    "transformers",
}
"""Not needed to score with the default recipe; half of them take a second or more."""


def loaded_by(program: str, *words: str) -> tuple[set[str], str]:
    """Modules that a program has imported at its end, and what it printed before."""
    program += "; import sys; print('loaded', *sorted(sys.modules))"
    call = [sys.executable, "-c", program, *words]
    shown = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    *before, last = shown.stdout.splitlines()
    return set(last.split()[1:]), "\n".join(before)


@pytest.mark.slow
def test_the_detector_of_any_recipe_needs_no_trainer() -> None:
    loaded, _ = loaded_by("import clad.detector, clad.cli.predictions, clad.cli.score_table")
    assert "torch" in loaded
    assert not loaded & HEAVY


@pytest.mark.slow
@pytest.mark.weights
def test_scoring_beside_good_parts_imports_nothing_heavy(tmp_path) -> None:
    write_textures(tmp_path / "good", 2)
    write_textures(tmp_path / "parts", 1, defective=True)
    words = ["score", str(tmp_path / "parts"), f"--normal={tmp_path / 'good'}"]
    loaded, shown = loaded_by(
        "import sys; from clad.cli.main import main; assert main(sys.argv[1:]) == 0",
        *words,
        f"--output={tmp_path / 'out'}",
    )
    assert "1 image" in shown
    assert (tmp_path / "out" / "maps" / "000.png").is_file()
    assert not loaded & HEAVY
