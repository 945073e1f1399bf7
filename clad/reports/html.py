"""A run directory -> one self-contained page that loads nothing from elsewhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template

from clad.metrics.bootstrap import bootstrap_intervals
from clad.metrics.faces import groups_to_draw
from clad.reports.calibration_section import calibration_section
from clad.reports.card_section import notes_section, readable_time, run_card_section
from clad.reports.face_section import faces_section
from clad.reports.files import write_text
from clad.reports.gallery_section import gallery_section
from clad.reports.markup import join, tag
from clad.reports.run_directory import Run, read_run
from clad.reports.sections import (
    curves_section,
    histograms_section,
    key_figures,
    metrics_section,
    verdict,
)
from clad.version import __version__

REPORT = "report.html"
_TEMPLATE = "report.html"


def write_report(run_dir: Path) -> Path:
    """Path of the ``report.html`` written into the run directory.

    Raises:
        FileNotFoundError: If the run directory or one of its files is missing.
        ValueError: If its files cannot be read or do not belong together.
    """
    path = run_dir / REPORT
    write_text(path, render(read_run(run_dir)))
    return path


def render(run: Run) -> str:
    """The page as text; equal runs give equal pages."""
    predictions = run.predictions
    groups = groups_to_draw(predictions)
    intervals = bootstrap_intervals(
        predictions.scores, predictions.labels, predictions.categories, seed=0, groups=groups
    )
    title = str(run.card.get("recipe") or run.path.name)
    source = (run.data or {}).get("source")
    subtitle = " · ".join(text for text in (source, readable_time(run.card.get("started"))) if text)
    faces = faces_section(run)
    sections = {
        "metrics": ("Metrics", metrics_section(run, intervals)),
        **({} if faces is None else {"faces": ("Faces", faces)}),
        "curves": ("Curves", curves_section(run)),
        "scores": ("Scores", histograms_section(run)),
        "calibration": ("Calibration", calibration_section(run)),
        "gallery": ("Gallery", gallery_section(run)),
        "run": ("Run card", run_card_section(run)),
        "notes": ("Notes", notes_section(run)),
    }
    template = Template(
        resources.files("clad.reports").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    )
    return template.substitute(
        title=join(title),
        subtitle=join(subtitle),
        verdict=join(verdict(run, intervals)),
        key_figures=key_figures(run, intervals),
        navigation=join(*(tag("a", name, href=f"#{key}") for key, (name, _) in sections.items())),
        sections=join(
            *(
                tag("section", tag("h2", name), body, id=key)
                for key, (name, body) in sections.items()
            )
        ),
        version=join(__version__),
    )
