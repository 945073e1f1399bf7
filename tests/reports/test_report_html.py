from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from clad.metrics.pixel_state import PIXEL_METRICS
from clad.reports.card_section import readable_time
from clad.reports.files import write_json
from clad.reports.html import write_report
from clad.reports.tables import format_fraction

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What the tests look at: elements with attributes, text, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.words.append(data)

    def of(self, name):
        return [attributes for element, attributes in self.elements if element == name]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read_page(run_dir):
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


def test_numbers_in_the_table_are_those_of_metrics_json(collected, write_run):
    run_dir = write_run(collected)
    page = read_page(run_dir)
    stored = json.loads((run_dir / "metrics.json").read_text())["test"]
    rows = [*stored["per_category"].values(), stored["mean"]]
    for metric in stored["mean"]:
        cells = [cell for cell in page.of("td") if cell.get("data-metric") == metric]
        assert [float(cell["data-value"]) for cell in cells] == [row[metric] for row in rows]
        for row in rows:
            assert format_fraction(row[metric]) in page.text
    assert f"Image AUROC is {stored['mean']['image_auroc']:.3f} (95% interval 0." in page.text


def test_means_of_domains_stand_in_the_table_with_their_counts(collected, write_run):
    domains = tuple("face" if name == "poly" else "industrial" for name in collected.categories)
    run_dir = write_run(replace(collected, domains=domains))
    page = read_page(run_dir)
    stored = json.loads((run_dir / "metrics.json").read_text())["test"]
    assert stored["domain_of"] == {"mono": "industrial", "poly": "face"}
    values = [stored["per_domain"][name]["image_auroc"] for name in ("industrial", "face")]
    cells = [cell for cell in page.of("td") if cell.get("data-metric") == "image_auroc"]
    assert [float(cell["data-value"]) for cell in cells][2:4] == values
    assert "mean industrial 26 / 14" in page.text
    assert "mean face 26 / 14" in page.text


def test_the_page_loads_nothing_from_elsewhere(collected, write_run):
    text = write_report(write_run(collected)).read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert not page.of("script")
    assert not page.of("iframe")
    loaded = [a[key] for _, a in page.elements for key in ("src", "href") if key in a]
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_names_of_all_kinds_are_escaped(collected, write_run):
    evil = "<script>alert(1)</script>"
    names = tuple(evil if name == "mono" else name for name in collected.categories)
    paths = tuple(f'x/"onerror=<b>{path[-7:]}' for path in collected.paths)
    types = tuple("<i>" if label else "good" for label in collected.labels)
    page = read_page(
        write_run(replace(collected, categories=names, paths=paths, defect_types=types))
    )
    assert not page.of("script")
    assert not any(page.of("b"))
    assert not page.of("i")
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert evil in page.text
    assert "head: <memory & text>" in page.text


def test_every_gallery_image_has_a_picture_a_map_and_a_verdict(collected, write_run):
    run_dir = write_run(collected)
    page = read_page(run_dir)
    with np.load(run_dir / "gallery.npz") as stored:
        count = len(stored["rows"])
        assert len(page.of("img")) == 2 * count
    assert 0 < count <= 2 * 16
    assert {picture["width"] for picture in page.of("img")} == {"64"}
    assert all(picture["alt"] for picture in page.of("img"))
    for word in ("missed", "false alarm", "found"):
        assert word in page.text


def test_image_only_heads_and_no_thresholds_still_make_a_page(image_only, write_run):
    page = read_page(write_run(image_only, thresholds=None))
    assert f"{', '.join(PIXEL_METRICS)} of mono: no anomaly maps" in page.text
    assert "No threshold was fitted in this run." in page.text
    assert "found" not in page.text.split("Gallery")[2]
    metrics = {cell["data-metric"] for cell in page.of("td") if "data-metric" in cell}
    assert metrics == {"image_auroc", "image_ap", "image_f1_max"}


def test_one_class_is_said_to_be_undefined(collected, write_run):
    only_good = replace(
        collected, labels=np.zeros_like(collected.labels), masks=np.zeros_like(collected.masks)
    )
    page = read_page(write_run(only_good))
    assert "Image AUROC is undefined: see the notes." in page.text
    assert "no anomalous image" in page.text
    assert "No category has both normal and anomalous images." in page.text


def test_an_undefined_cell_says_so(collected, write_run):
    is_poly = np.array(collected.categories) == "poly"
    labels = np.where(is_poly, 0, collected.labels)
    page = read_page(write_run(replace(collected, labels=labels)))
    empty = [c for c in page.of("td") if c.get("data-value") == ""]
    assert {c["class"] for c in empty} == {"undefined"}
    assert "undefined" in page.text


def test_missing_parts_are_named_on_the_page(collected, write_run):
    run_dir = write_run(collected)
    for name in ("config.yaml", "data.json", "gallery.npz"):
        (run_dir / name).unlink()
    page = read_page(run_dir)
    assert page.text.count("Not recorded in this run.") == 2
    assert "keeps no images" in page.text


def test_the_run_card_tells_how_to_repeat_the_run(collected, write_run):
    page = read_page(write_run(collected))
    for fact in (
        "clad test --config configs/recipes/clad_test.yaml",
        "2 Jan 2026, 03:04 UTC",
        "fit 41.2 s, test 9.8 s",
        "0123456789abcdef",
        "the 95 % quantile of validation normals",
        "split by hand",
    ):
        assert fact in page.text


def test_equal_runs_give_equal_pages(collected, write_run):
    first = write_report(write_run(collected)).read_bytes()
    assert write_report(write_run(collected)).read_bytes() == first


def test_many_categories_stay_readable_and_bounded(collected, write_run):
    names = tuple(f"category_{i % 15:02d}" for i in range(len(collected)))
    run_dir = write_run(replace(collected, categories=names))
    page = read_page(run_dir)
    assert (run_dir / "report.html").stat().st_size < 2_000_000
    folded = [a for a in page.of("details") if a.get("class") == "category"]
    assert len(folded) == 15
    assert sum("open" in attributes for attributes in folded) == 3
    assert sum("quiet" not in a["class"] for a in page.of("path")) == 2 * 3


def test_a_missing_run_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"expected metrics\.json in .*run `clad test` first"
    ):
        write_report(tmp_path)


def test_the_title_falls_back_to_the_name_of_the_folder(collected, write_run):
    run_dir = write_run(collected, name="my_run")
    write_json(run_dir / "run.json", {})
    assert "<h1>my_run</h1>" in write_report(run_dir).read_text()


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("2026-01-02T03:04:05+00:00", "2 Jan 2026, 03:04 UTC"),
        ("2026-11-23T23:59:00", "23 Nov 2026, 23:59"),
        ("yesterday", "yesterday"),
        (None, ""),
    ],
)
def test_times_are_readable(stored, text):
    assert readable_time(stored) == text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_a_screenshot_in_a_browser_is_not_blank(collected, write_run, tmp_path, width):
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    assert browser, "expected chromium or google-chrome on the PATH; install the package `chromium`"
    report = write_report(write_run(collected))
    picture = tmp_path / "report.png"
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},4200",
            f"--screenshot={picture}",
            report.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (4200, width, 3)
    assert pixels.std() > 10
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    # Nothing may stick out to the right of the page's own margin.
    background = pixels[2, 2]
    assert (np.abs(pixels[:, -6:] - background) < 12).all()
    # Each fifth of the page from the top down to the gallery shows something.
    for part in np.array_split(pixels[:3500], 5):
        assert (np.abs(part - background) > 12).any(axis=2).mean() > 0.02
