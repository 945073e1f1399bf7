"""The rules that test_layers.py holds, as functions from source text to complaints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clad"

# Lowest first; a module imports only from lower levels and from its own folder.
LEVELS = (
    {"samples", "stopwatch", "version"},
    {"types"},
    {"checks"},
    {"alignment", "features", "precision"},
    {"faces", "face_encoders"},
    {"data", "synthesis", "towers", "tuning", "inputs", "adapters", "losses", "metrics", "optim"},
    {"prompts", "heads", "explain"},
    {"tasks"},
    {"detector", "protocols"},
    {"forensics"},
    {"deploy", "reports"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: height for height, names in enumerate(LEVELS) for name in names}

# Contracts that neighbours on the same level may speak of.
SAME_LEVEL = {
    "data": ("synthesis.base",),
    "tuning": ("towers.base",),
    "inputs": ("towers.base",),
    "adapters": ("towers.base",),
    "losses": ("towers.base",),
}

# A file is a variant of its slot if it subclasses the slot's contract; others are helpers.
CONTRACTS = {
    "faces": "FaceDetector",
    "face_encoders": "FaceEncoder",
    "data": "DataSource",
    "synthesis": "Synthesizer",
    "towers": "Tower",
    "tuning": "Tuning",
    "inputs": "InputTransform",
    "prompts": "PromptStrategy",
    "adapters": "Adapter",
    "losses": "Loss",
    "heads": "Head",
}

# Of a slot, other folders see the contract; the task alone may also use these.
TASK_MAY_USE = ("data.datamodule", "data.feature_store", "towers.folding")

# Libraries that are slow to import or likely to change, and the only places that may know them.
FENCES = {
    "open_clip": ("towers",),
    "timm": ("towers",),
    "transformers": ("towers",),
    "peft": ("tuning.lora",),
    "lightning": ("data.datamodule", "tasks", "cli"),
    "matplotlib": ("reports",),
}
NEVER_AT_IMPORT = {"matplotlib"}

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def within(module: str, places: Iterable[str]) -> bool:
    """Whether a dotted module is one of the places or lies in one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def own_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name (without ``clad.``) of each import from clad, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            # The name counts, too: `from clad.prompts import words` imports a module.
            module = "." * node.level + (node.module or "")
            targets = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        for target in targets:
            if target.startswith((".", "clad.")):
                yield node.lineno, target.removeprefix("clad.")


def outside_imports(tree: ast.Module, at_import_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and top package of each import of something else."""
    for node in _runs_at_import(tree) if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        else:
            continue
        tops = {name.split(".")[0] for name in names}
        yield from ((node.lineno, top) for top in sorted(tops - {"clad"}))


def _runs_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes outside functions and outside ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _runs_at_import(child)


def find_variants(sources: dict[str, str]) -> frozenset[str]:
    """Modules that define a concrete class of their slot's contract, directly or by a family.

    A family is a subclass of the contract that is abstract itself, such as one that says how all
    generators of a kind paste; its file is a helper.
    """
    contracts = {slot: {name} for slot, name in CONTRACTS.items()}
    classes = [
        (module, slot, node)
        for module, source in sources.items()
        if (slot := module.split(".")[0]) in CONTRACTS
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    ]
    for _ in classes:  # families of families: as many rounds as there can be generations
        size = sum(map(len, contracts.values()))
        for _, slot, node in classes:
            if _is_abstract(node) and _base_names(node) & contracts[slot]:
                contracts[slot].add(node.name)
        if sum(map(len, contracts.values())) == size:
            break
    return frozenset(
        module
        for module, slot, node in classes
        if not _is_abstract(node)
        and _base_names(node) & contracts[slot]
        and module != f"{slot}.base"
    )


def _base_names(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split(".")[-1] for base in node.bases}


def _is_abstract(node: ast.ClassDef) -> bool:
    return "ABC" in _base_names(node) or any(
        "abstractmethod" in ast.unparse(decorator)
        for member in node.body
        if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef))
        for decorator in member.decorator_list
    )


def refused_import(module: str, target: str, variants: frozenset[str]) -> str | None:
    """Why ``module`` may not import ``target``, or None if it may."""
    if target.startswith("."):
        return "relative import; write the module out from `clad.` on"
    own, other = module.split(".")[0], target.split(".")[0]
    if other not in LEVEL:
        return f"clad.{other} is in no level of tests/test_layers.py; add it where it belongs"
    if within(target, variants):
        where = "a sibling variant" if own == other else "a variant"
        return f"{where}, clad.{target}; only YAML names variants, share code through a helper file"
    if own == other:
        return None
    if within(target, SAME_LEVEL.get(own, ())):
        return None
    if LEVEL[own] <= LEVEL[other]:
        return f"clad.{target}, which is not below clad.{own}"
    allowed = (f"{other}.base", *TASK_MAY_USE)
    if own == "tasks" and other in CONTRACTS and not within(target, allowed):
        return f"clad.{target}; of a slot it may use `base` only"
    return None


def layer_violations(module: str, source: str, variants: frozenset[str] = frozenset()) -> list[str]:
    """Sentences about imports of ``module`` (dotted, without ``clad.``) that break the layers."""
    tree = ast.parse(source)
    found = {}
    for line, target in own_imports(tree):
        reason = refused_import(module, target, variants)
        if reason:
            found.setdefault(line, f"clad.{module}, line {line}: imports {reason}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.fullmatch(r"clad\.([\w.]+)", node.value)
            own_folder = f"{module.split('.')[0]}."
            if named and within(named[1], variants) and not named[1].startswith(own_folder):
                sentence = f"clad.{module}, line {node.lineno}: names variant {node.value}"
                found.setdefault(node.lineno, sentence)
    return list(found.values())


def fence_violations(module: str, source: str) -> list[str]:
    """Sentences about libraries that ``module`` should not know, or not at import."""
    tree = ast.parse(source)
    found = [
        f"clad.{module}, line {line}: imports {top}; that is for {', '.join(FENCES[top])} only"
        for line, top in outside_imports(tree)
        if top in FENCES and not within(module, FENCES[top])
    ]
    found += [
        f"clad.{module}, line {line}: imports {top} at import; do it inside the function"
        for line, top in outside_imports(tree, at_import_only=True)
        if top in NEVER_AT_IMPORT
    ]
    return found


def size_violations(name: str, source: str) -> list[str]:
    """Sentences about a file or functions that are too long."""
    found = []
    lines = source.count("\n")
    if lines > MAX_FILE_LINES:
        found.append(f"{name}: {lines} lines, expected at most {MAX_FILE_LINES}; split it")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(
                    f"{name}, line {node.lineno}: {node.name} has {length} lines, "
                    f"expected at most {MAX_FUNCTION_LINES}; split it"
                )
    return found


def modules() -> dict[str, str]:
    """Source of every module of clad by dotted name without ``clad.``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    }
