"""What must hold for the repository as a whole: versions, pins, configurations, texts."""

from __future__ import annotations

import ast
import importlib
import re
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from check_size import too_large
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
CONFIG_IDS = [str(path.relative_to(ROOT / "configs")) for path in CONFIGS]

# Written so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:work|farm|root|home|Users)/")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.org|deb\.debian\.org")
LOOSE_END = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b(?!\(#\d+\))")


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("needs a git checkout to know which files belong to the repository")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked_files():
        if b"\0" in path.read_bytes()[:1024]:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}, line {number}: {line.strip()[:90]}")
    return found


def requirements(*extras: str) -> list[Requirement]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in extras)]
    return [Requirement(line) for lines in lists for line in lines]


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            found[canonicalize_name(name)] = Version(version)
    return found


# Versions


def test_changelog_names_the_version_of_the_package() -> None:
    version = re.search(r'"(.+?)"', (ROOT / "clad/version.py").read_text().split("=", 1)[1])[1]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    titles = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert titles[1] == str(Version(version)), "the newest release must be the package's version"
    releases = [Version(title) for title in titles[1:]]
    assert releases == sorted(releases, reverse=True)


def test_python_versions_agree() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert tools["mypy"]["python_version"] == lowest
    assert tools["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    script = (ROOT / "tools/environment.sh").read_text()
    assert f"sys.version_info < ({lowest.replace('.', ', ')})" in script


# Pins


def test_constraints_satisfy_the_requirements() -> None:
    pinned = pins()
    wrong = [
        f"{requirement} against {pinned.get(canonicalize_name(requirement.name), 'no pin')}"
        for requirement in requirements("offline", "dev")
        if pinned.get(canonicalize_name(requirement.name)) not in requirement.specifier
    ]
    assert not wrong, "\n".join(wrong)


def test_other_extras_do_not_contradict_the_constraints() -> None:
    pinned = pins()
    wrong = [
        f"{requirement} against {version}"
        for requirement in requirements(*PROJECT["optional-dependencies"])
        if (version := pinned.get(canonicalize_name(requirement.name)))
        and version not in requirement.specifier
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "version"),
    [("lightning", "2.6.2"), ("lightning", "2.6.3"), ("jsonargparse", "4.47.0")],
)
def test_known_bad_releases_are_excluded(name: str, version: str) -> None:
    (requirement,) = [r for r in requirements() if r.name == name]
    assert Version(version) not in requirement.specifier
    assert version.removesuffix(".0") in (ROOT / "constraints.txt").read_text()


# Configurations


def class_paths(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from class_paths(value)


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIG_IDS)
def test_class_paths_of_configurations_lead_to_classes(config: Path) -> None:
    content = yaml.safe_load(config.read_text())
    assert isinstance(content, dict), "expected a mapping of keys"
    for class_path in class_paths(content):
        module, _, name = class_path.rpartition(".")
        if not module.startswith("clad."):
            continue
        source = ROOT / (module.replace(".", "/") + ".py")
        assert source.is_file(), f"no module for {class_path}"
        classes = [
            n.name for n in ast.parse(source.read_text()).body if isinstance(n, ast.ClassDef)
        ]
        assert name in classes, f"no class {name} in {source.relative_to(ROOT)}, only {classes}"


@pytest.mark.slow
@pytest.mark.weights
def test_class_paths_of_configurations_import() -> None:
    paths = {p for config in CONFIGS for p in class_paths(yaml.safe_load(config.read_text()))}
    assert paths
    for class_path in sorted(paths):
        module, _, name = class_path.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type), class_path


# Texts


def test_no_path_of_one_machine() -> None:
    assert not lines_matching(MACHINE_PATH)


def test_no_registry_host() -> None:
    assert not lines_matching(REGISTRY_HOST)


def test_loose_ends_carry_an_issue_number() -> None:
    assert not lines_matching(LOOSE_END)


@pytest.mark.parametrize(
    ("pattern", "caught", "passed"),
    [
        (MACHINE_PATH, "root = '/" + "home/someone/data'", "see ../work/data and a/root/b"),
        (REGISTRY_HOST, "https://pypi" + ".org/simple", "pip install clad-anomaly"),
        (LOOSE_END, "# TO" + "DO: later", "# TO" + "DO(#12): later"),
    ],
)
def test_patterns_catch_what_they_should(
    pattern: re.Pattern[str], caught: str, passed: str
) -> None:
    assert pattern.search(caught)
    assert not pattern.search(passed)


def test_files_are_small(tmp_path: Path) -> None:
    assert not too_large(tracked_files())
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(100_001))
    assert "got 100001 in" in too_large([large])[0]


def test_hooks_are_local() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in hooks["repos"]} == {"local"}


# The tests themselves


def test_network_is_refused() -> None:
    with pytest.raises(OSError, match=r"loopback only, it asked for '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(OSError, match=r"asked for 'host\.invalid"):
        socket.create_connection(("host.invalid", 80), timeout=0.1)


def test_loopback_is_allowed() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=1) as client,
    ):
        assert client.getpeername() == server.getsockname()
