"""Zero-shot transfer of the offline tower: learn on some parts, be tested on others never seen.

    python benchmarks/transfer.py --data DIR [--output DIR]

DIR holds `mvtec_ad/transistor` and `magnetic_tile` (also from CLAD_BENCHMARK_DATA); solar cells
come from a package. Recipe `transfer` in the cross-data-set protocol (docs/protocols.md): all
images of the auxiliaries' test splits are training images, with masks where there are some; the
target gives its test split only. Words are the one thing that training and test share. AUROC with
95 % percentile bootstraps over the target's images; 0.5 is chance.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from clad.cli.demo import expect_packages, find_recipe
from clad.cli.session import open_session
from clad.cli.stages import evaluate_test, train
from clad.metrics.bootstrap import bootstrap_intervals
from clad.metrics.evaluate import evaluate

CLAIM = "Words learned on some parts serve others that were never seen"
PEER = "chance"
NEEDS = ("offline", "data")

_FOLDERS = {"transistor": "mvtec_ad/transistor", "magnetic_tile": "magnetic_tile"}
_RUNS = (
    (("magnetic_tile", "solar_cells"), "transistor"),
    (("transistor",), "magnetic_tile"),
    (("transistor",), "solar_cells"),
)


def part(name: str, base: Path) -> dict[str, Any]:
    """One data set of the protocol, as a configuration."""
    if name not in _FOLDERS:
        return {"source": {"class_path": "clad.data.solar_cells.SolarCells"}, "name": name}
    folder = {"class_path": "clad.data.folder.Folder"}
    return {"source": folder, "root": str((base / _FOLDERS[name]).resolve()), "name": name}


def run(auxiliary: tuple[str, ...], target: str, base: Path, output: Path) -> list[str]:
    """Rows of the table: one per category of the target."""
    began = time.perf_counter()
    place = output / f"{'_'.join(auxiliary)}_to_{target}"
    place.mkdir(parents=True)
    source = {
        "class_path": "clad.data.cross.CrossDataset",
        "init_args": {
            "auxiliary": [part(name, base) for name in auxiliary],
            "target": part(target, base),
        },
    }
    overlay = place / "protocol.yaml"
    overlay.write_text(yaml.safe_dump({"data": {"source": source}}))
    words = [f"--config={find_recipe('transfer.yaml')}", f"--config={overlay}"]
    session = open_session("fit", [*words, f"--trainer.default_root_dir={place}"], "clad fit")
    train(session)
    evaluate_test(session)
    found = session.task.collected
    assert found is not None
    metrics = evaluate(found).per_category
    intervals = bootstrap_intervals(found.scores, found.labels, found.categories).per_category
    seconds = time.perf_counter() - began
    return [
        f"{' + '.join(auxiliary):28}{name:16}{metrics[name]['image_auroc']:12.3f}   "
        f"{intervals[name]['image_auroc'].low:.3f} to {intervals[name]['image_auroc'].high:.3f}"
        f"{metrics[name].get('pixel_auroc', float('nan')):12.3f}{seconds:8.0f}"
        for name in found.category_names
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="learn on some parts, be tested on others")
    parser.add_argument("--data", type=Path, default=os.environ.get("CLAD_BENCHMARK_DATA"))
    parser.add_argument("--targets", nargs="+", default=sorted({target for _, target in _RUNS}))
    parser.add_argument("--output", type=Path, help="where the runs are kept")
    wanted = parser.parse_args()
    if wanted.data is None:
        parser.error("expected --data DIR or CLAD_BENCHMARK_DATA, got neither")
    expect_packages()
    output = wanted.output or Path(tempfile.mkdtemp(prefix="transfer_"))
    lines = [
        row
        for each in _RUNS
        if each[1] in wanted.targets
        for row in run(*each, wanted.data, output)
    ]
    print(f"\n{'trained on':28}{'tested on':16}{'image AUROC':>12}   {'95 %':14}", end="")
    print(f"{'pixel AUROC':>13}       s")
    print("\n".join(lines))
    print(f"runs: {output}")


if __name__ == "__main__":
    main()
