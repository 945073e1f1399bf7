"""The part of a report that says how the run came about, and its notes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clad.reports.markup import Markup, join, tag
from clad.reports.run_directory import Run

_HOW_TO_READ = (
    "AUROC: probability that an anomalous image (or pixel) scores above a normal one. "
    "AP: precision averaged over recall. F1-max: the best F1 that any threshold reaches when the "
    "labels are known, so never an operating point. AUPRO: mean overlap with each true region up "
    "to 30 % false positive pixels, so that small defects count as much as large ones.",
    "An interval of no width only says that no resample of these images held an error; with few "
    "images that is weak evidence.",
)


def run_card_section(run: Run) -> Markup:
    """Command, seed, times, machine, data, thresholds, versions and configuration."""
    card = run.card
    seconds = card.get("seconds") or {}
    facts = {
        "Recipe": card.get("recipe"),
        "Command": card.get("command"),
        "Started": readable_time(card.get("started")),
        "Seed": card.get("seed"),
        "Weights that learn": _parameters(card.get("parameters") or {}),
        "Time": ", ".join(f"{stage} {_duration(value)}" for stage, value in seconds.items()),
        "Machine": _machine(card.get("machine") or {}),
        "Weights": card.get("ckpt"),
        "Protocol": _joined(card.get("protocol") or ""),
        "Threshold": card.get("threshold_source"),
    }
    shown = [
        join(tag("dt", name), tag("dd", str(value), class_="code" if name == "Command" else None))
        for name, value in facts.items()
        if value not in (None, "")
    ]
    versions = card.get("versions") or {}
    text = "\n".join(f"{name} {version}" for name, version in versions.items())
    return join(
        tag("dl", *shown, class_="facts"),
        _thresholds(card.get("threshold") or {}),
        _data(run.data),
        _folded("Versions", text or None),
        _folded("Configuration", run.config),
    )


def notes_section(run: Run) -> Markup:
    """Undefined metrics with their reasons, and how to read the numbers."""
    undefined = run.evaluation.undefined
    if undefined:
        reasons: Markup = join(
            tag("p", "Undefined, and left out of the mean:"),
            tag("ul", *(tag("li", sentence) for sentence in undefined)),
        )
    else:
        reasons = tag("p", "Every metric shown is defined for every category.")
    return join(reasons, *(tag("p", text) for text in _HOW_TO_READ))


def readable_time(stored: object) -> str:
    """``2 Jan 2026, 03:04 UTC`` for an ISO time; other text as it is."""
    try:
        time = datetime.fromisoformat(str(stored))
    except ValueError:
        return "" if stored is None else str(stored)
    return f"{time.day} {time:%b %Y, %H:%M} {time.tzname() or ''}".strip()


def _parameters(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Learning weights of all, part by part."""
    return ", ".join(
        f"{part} {count['learning']:,} of {count['learning'] + count['frozen']:,}"
        for part, count in counts.items()
    )


def _machine(machine: Mapping[str, Any]) -> str:
    named = {"cpus": "{} CPUs", "platform": "{}"}
    return ", ".join(named.get(name, name + " {}").format(value) for name, value in machine.items())


def _thresholds(thresholds: Mapping[str, float]) -> Markup | None:
    if not thresholds:
        return None
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", f"{float(value):.6g}"))
        for name, value in thresholds.items()
    ]
    head = tag("tr", tag("th", "Category", scope="col"), tag("th", "Threshold", scope="col"))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("details", tag("summary", "Thresholds"), tag("div", table, class_="scroll"))


def _data(data: Mapping[str, Any] | None) -> Markup:
    """Counts per role, category and label, and whatever else the fingerprint says."""
    if data is None:
        return _folded("Data", None)
    rows = [
        tag(
            "tr",
            tag("th", role, scope="row"),
            tag("td", category, class_="text"),
            tag("td", f"{counts.get('normal', 0):,}"),
            tag("td", f"{counts.get('anomalous', 0):,}"),
        )
        for role, categories in (data.get("counts") or {}).items()
        for category, counts in categories.items()
    ]
    titles = {"Role": "text", "Category": "text", "Normal": None, "Anomalous": None}
    head = tag("tr", *(tag("th", t, scope="col", class_=css) for t, css in titles.items()))
    table = tag("table", tag("thead", head), tag("tbody", *rows)) if rows else None
    others = {name: value for name, value in data.items() if name != "counts"}
    facts = [
        join(
            tag("dt", name), tag("dd", _joined(value), class_="code" if name == "sha256" else None)
        )
        for name, value in others.items()
        if value not in (None, "", [])
    ]
    return tag(
        "details",
        tag("summary", "Data"),
        tag("dl", *facts, class_="facts"),
        tag("div", table, class_="scroll") if table else None,
    )


def _folded(title: str, text: str | None) -> Markup:
    body = tag("pre", text) if text else tag("p", "Not recorded in this run.", class_="note")
    return tag("details", tag("summary", title), body)


def _joined(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(
            # A part of several joined data sets; its own counts are in data.json.
            str(entry.get("name", entry)) if isinstance(entry, Mapping) else str(entry)
            for entry in value
        )
    return str(value)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
