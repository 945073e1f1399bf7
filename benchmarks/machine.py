"""Where a number comes from: machine and versions, a line each."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from clad.version import __version__


def machine_line() -> str:
    """Processor, usable cores, memory, GPU (if torch is loaded and sees one) and system."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if torch is not None and has_gpu else "no GPU used"
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {cores} cores, {memory / 2**30:.0f} GiB, {gpu}, {system}"


def versions_line(packages: Iterable[str] = ()) -> str:
    """Versions of Python, of clad and of distributions (their names on the registry)."""
    found = [f"Python {platform.python_version()}", f"clad {__version__}"]
    for package in dict.fromkeys(packages):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)
