"""Two real processes over gloo, each with half of the images, beside one with all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clad.metrics.pixel_state import PixelState

pytestmark = pytest.mark.slow

HALF = """
import json, sys
from pathlib import Path

import numpy as np
from torch import distributed

from clad.metrics.pixel_state import PixelState
from clad.tasks.processes import of_all_processes

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
)
found = {}
for kind in ("tied", "smooth"):
    images = np.load(folder / f"{kind}.npz")
    state = PixelState(65_536, published_pro=True)
    state.update(images["maps"][rank::2], images["masks"][rank::2])
    whole = PixelState(65_536, published_pro=True)
    for each in of_all_processes(state):
        whole.merge(each)
    found[kind] = whole.metrics()[0]
(folder / f"{rank}.json").write_text(json.dumps(found))
distributed.destroy_process_group()
"""


def test_two_processes_give_the_metrics_of_one(tmp_path: Path):
    generator = np.random.default_rng(0)
    masks = np.zeros((8, 80, 80), dtype=bool)
    masks[3:, 20:50, 10:70] = True
    smooth = (generator.normal(size=masks.shape) + masks).astype(np.float32)
    expected = {}
    for kind, maps in (("tied", np.clip(np.round(smooth * 4), -9, 9)), ("smooth", smooth)):
        np.savez(tmp_path / f"{kind}.npz", maps=maps, masks=masks)
        state = PixelState(65_536, published_pro=True)
        state.update(maps, masks)
        expected[kind] = state.metrics()[0]
    command = [sys.executable, "-c", HALF]
    children = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        assert [child.wait(timeout=120) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["tied"] == pytest.approx(expected["tied"], abs=1e-9)
    # Pixels that had a bin of their own in each process may share one in the sum.
    half_a_pixel = 0.5 / masks.sum()
    for name in ("pixel_auroc", "pixel_ap", "pixel_aupro"):
        assert first["smooth"][name] == pytest.approx(expected["smooth"][name], abs=half_a_pixel)
