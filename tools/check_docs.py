"""Check that what the documentation points at is there: links, commands, configurations, files.

Reads every Markdown page of the repository, and the commands in the headers of configs/.
Run by `make docs` and by tests/test_repository.py; needs nothing but Python and clad itself.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL_FENCES = {"", "bash", "sh", "shell", "console"}
EXTERNAL = ("http://", "https://", "mailto:")

# Names that pages make up for examples: my_loss.yaml, DIR, runs/demo, *.yaml, {name}.yaml
MADE_UP = re.compile(r"(^|/)(test_)?my_|[A-Z<>{}*$]|^runs/|^/")
REPOSITORY_FILE = re.compile(r"(?:clad|configs|tests|docs|benchmarks|tools|data)/[\w./-]+\.\w+")


def pages(root: Path) -> list[Path]:
    """Markdown pages of the repository."""
    folders = ("docs", "data", "benchmarks", "configs")
    found = [*root.glob("*.md"), *(p for f in folders for p in (root / f).rglob("*.md"))]
    return sorted(found)


def fences(text: str) -> Iterator[tuple[int, str, str]]:
    """First line number, language and content of each fenced block."""
    opened, language = 0, ""
    content: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*```(\w*)", line)
        if mark and not opened:
            opened, language, content = number + 1, mark[1], []
        elif mark:
            yield opened, language, "\n".join(content)
            opened = 0
        elif opened:
            content.append(line)


def prose(text: str) -> str:
    """The text without fenced blocks; line numbers stay."""
    kept, inside = [], False
    for line in text.splitlines():
        is_mark = line.lstrip().startswith("```")
        kept.append("" if inside or is_mark else line)
        inside ^= is_mark
    return "\n".join(kept)


def anchors(text: str) -> set[str]:
    """Names that headings can be linked by."""
    titles = re.findall(r"^#+\s+(.+?)\s*$", prose(text), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


def link_errors(page: Path, root: Path) -> list[str]:
    """Sentences about links of a page that lead nowhere."""
    text = page.read_text()
    found = []
    pattern = r"\]\(\s*<?([^)\s>]+)|^\[[^\]]+\]:\s*(\S+)|<img[^>]+src=\"([^\"]+)\""
    without_code = re.sub(r"`[^`\n]*`", "", prose(text))
    for match in re.finditer(pattern, without_code, re.MULTILINE):
        target = next(group for group in match.groups() if group)
        if target.startswith(EXTERNAL):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        where = f"{page.relative_to(root)}, line {without_code[: match.start()].count(chr(10)) + 1}"
        if not linked.is_relative_to(root) or not linked.exists():
            found.append(f"{where}: expected a file at {target}, found none; correct the link")
        elif anchor and linked.suffix == ".md" and anchor not in anchors(linked.read_text()):
            found.append(f"{where}: expected a heading for #{anchor} in {linked.name}, found none")
    return found


def commands(block: str) -> Iterator[list[str]]:
    """Words of each command of a shell block, continued lines joined."""
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        line = line.strip().removeprefix("$ ")
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # output with an apostrophe, not a command
            continue
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set(";&|"):
                if command:
                    yield command
                command = []
            elif command or not re.match(r"\w+=", word):
                command.append(word)


def command_errors(words: list[str], root: Path, verbs: set[str]) -> list[str]:
    """Sentences about one command: unknown verb or target, missing file."""
    program = Path(words[0]).name
    arguments = words[1:]
    shown = " ".join(words)
    found = []
    if program == "clad" and arguments and not arguments[0].startswith("-"):
        verb = arguments[0]
        if verb not in verbs and not MADE_UP.search(verb):
            found.append(f"expected one of clad's verbs {sorted(verbs)}, got `{shown}`")
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
        named = [a for a in arguments if "=" not in a and not a.startswith("-")]
        found += [
            f"expected a target of the Makefile, got `{shown}`" for a in named if a not in targets
        ]
    if program in {"clad", "python", "python3", "pytest"}:
        for argument in arguments:
            name = argument.split("=")[-1].split("::")[0]
            missing = REPOSITORY_FILE.fullmatch(name) and not (root / name).exists()
            if missing and not MADE_UP.search(name):
                found.append(f"expected a file at {name}, found none, in `{shown}`")
    return found


def page_errors(page: Path, root: Path, verbs: set[str]) -> list[str]:
    """Sentences about everything on a page that is not there."""
    text = page.read_text()
    name = page.relative_to(root)
    found = link_errors(page, root)
    for line, language, block in fences(text):
        if language in SHELL_FENCES:
            for words in commands(block):
                found += [f"{name}, line {line}: {e}" for e in command_errors(words, root, verbs)]
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if REPOSITORY_FILE.fullmatch(code) and not MADE_UP.search(code):
            if not (root / code).exists() and not (page.parent / code).exists():
                found.append(f"{name}: expected a file at {code}, found none")
        elif code.startswith(("clad ", "make ")):
            found += [
                f"{name}: {e}" for w in commands(code) for e in command_errors(w, root, verbs)
            ]
    return found


def header_errors(config: Path, root: Path, verbs: set[str]) -> list[str]:
    """Sentences about commands in the comments of a configuration."""
    comments = re.findall(r"^#[ \t]*(?:\w+:[ \t]*)?(clad .*--config.*)$", config.read_text(), re.M)
    name = config.relative_to(root)
    return [
        f"{name}: {error}"
        for comment in comments
        for words in commands(comment)
        for error in command_errors(words, root, verbs)
    ]


def known_verbs() -> set[str]:
    """The verbs that `clad --help` lists, one an indented line or as {a,b,c}."""
    program = "import sys; from clad.cli.main import main; sys.argv = ['clad', '--help']; main()"
    call = [sys.executable, "-c", program]
    shown = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    if not shown.stdout:
        raise RuntimeError(f"expected `clad --help` to print its verbs, got:\n{shown.stderr}")
    listed = set(re.findall(r"^\s+([a-z][a-z_-]+)\b", shown.stdout, re.MULTILINE))
    return listed.union(*(g.split(",") for g in re.findall(r"\{([a-z_,-]+)\}", shown.stdout)))


def main() -> int:
    """Print every complaint; 1 if there is any."""
    verbs = known_verbs()
    configs = sorted((ROOT / "configs").rglob("*.yaml"))
    found = [e for page in pages(ROOT) for e in page_errors(page, ROOT, verbs)]
    found += [e for config in configs for e in header_errors(config, ROOT, verbs)]
    print("\n".join(found) or f"{len(pages(ROOT))} pages and {len(configs)} configurations hold")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
