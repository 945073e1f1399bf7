from __future__ import annotations

import pytest
import torch
from fakes import FakeTower

from clad.prompts.ensemble_files import ENSEMBLES_FOLDER, load_ensemble
from clad.prompts.state_ensemble import StateEnsemble

SHIPPED = {"winclip": (7, 4, 22), "april_gan": (7, 5, 35), "ada_clip": (7, 5, 4)}
SHIPPED |= {"aa_clip": (3, 5, 2)}


def test_every_shipped_set_is_counted() -> None:
    assert {path.stem for path in ENSEMBLES_FOLDER.glob("*.yaml")} == set(SHIPPED)


@pytest.mark.parametrize(("name", "counts"), SHIPPED.items())
def test_counts_and_uniqueness(name, counts) -> None:
    normal, anomalous, templates = counts
    ensemble = load_ensemble(name)
    assert len(set(ensemble.normal)) == len(ensemble.normal) == normal
    assert len(set(ensemble.anomalous)) == len(ensemble.anomalous) == anomalous
    assert len(set(ensemble.templates)) == len(ensemble.templates) == templates
    good, bad = ensemble.prompts("metal nut")
    assert len(good) == normal * templates
    assert len(bad) == anomalous * templates
    assert len({*good, *bad}) == len(good) + len(bad)
    assert all("metal nut" in text and "{" not in text for text in [*good, *bad])


def test_winclip_prompts_read_as_in_the_paper() -> None:
    good, bad = load_ensemble("winclip").prompts("bottle")
    assert (len(good), len(bad)) == (154, 88)
    assert "a cropped photo of a flawless bottle." in good
    assert "a photo of the bottle without defect for visual inspection." in good
    assert "a jpeg corrupted photo of the damaged bottle." in bad
    assert "a photo of a small bottle with flaw." in bad


def test_winclip_templates_are_eleven_with_either_article() -> None:
    """An independent spelling: eleven phrases, each with `a` and `the`."""
    before = ["cropped ", "close-up ", "bright ", "dark ", "jpeg corrupted ", "blurry ", ""]
    expected = {f"a {kind}photo of {article} {{}}." for kind in before for article in ("a", "the")}
    for article in ("a", "the"):
        expected |= {f"a photo of {article} {size} {{}}." for size in ("small", "large")}
        aims = ("visual inspection", "anomaly detection")
        expected |= {f"a photo of {article} {{}} for {aim}." for aim in aims}
    assert set(load_ensemble("winclip").templates) == expected


@pytest.mark.parametrize("average", ["raw", "unit"])
def test_prototypes_match_a_plain_loop(average) -> None:
    tower = FakeTower()
    made = StateEnsemble("winclip", average)(("metal_nut",), tower).embeddings[0]
    for side, texts in enumerate(load_ensemble("winclip").prompts("metal nut")):
        total = torch.zeros(tower.embed_dim, dtype=torch.float64)
        for text in texts:
            row = tower.encode_text([text])[0].double()
            total += row / row.norm() if average == "unit" else row
        torch.testing.assert_close(made[side].double(), total / total.norm(), rtol=0, atol=1e-6)


def test_the_two_averages_differ() -> None:
    tower = FakeTower()
    raw, unit = (StateEnsemble("winclip", a)(("pill",), tower).embeddings for a in ("raw", "unit"))
    assert (raw - unit).abs().max() > 1e-5


def test_categories_that_share_a_class_name_share_prototypes() -> None:
    tower = FakeTower()
    made = StateEnsemble()(("pcb1", "tile", "pcb2"), tower).embeddings
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


def test_a_class_name_is_not_taken_for_a_category(tmp_path) -> None:
    """`tile` speaks of a stone tile; another category that is called a tile is not the same."""
    words = tmp_path / "w.yaml"
    words.write_text("categories: {roof: {class_name: tile}}")
    tower = FakeTower()
    together = StateEnsemble(words=words)(("tile", "roof"), tower).embeddings
    alone = StateEnsemble(words=words)(("roof",), tower).embeddings
    torch.testing.assert_close(together[1:], alone)
    assert not torch.allclose(together[0], together[1])


def test_a_set_of_ones_own(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("{normal: ['good {}'], anomalous: ['bad {}'], templates: ['{}!', 'see {}']}")
    assert load_ensemble(str(path)).prompts("nut") == (
        ["good nut!", "see good nut"],
        ["bad nut!", "see bad nut"],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal: ['{}']", "expected the keys normal.*missing .'anomalous', 'templates'"),
        (
            "{normal: ['{}'], anomalous: ['b {}'], templates: ['{}'], state: 1}",
            r"missing \[\], unknown .'state'",
        ),
        (
            "{normal: ['{}'], anomalous: ['broken'], templates: ['{}']}",
            "expected {} exactly once in each of .*anomalous, got .'broken'",
        ),
        (
            "{normal: ['{}', '{}'], anomalous: ['b {}'], templates: ['{}']}",
            "expected each sentence once at .*normal",
        ),
    ],
)
def test_malformed_set_is_refused(tmp_path, text, message) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_ensemble(str(path))


def test_unknown_choices_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="aa_clip, ada_clip, april_gan, winclip; got 'winclp'"):
        StateEnsemble("winclp")
    with pytest.raises(ValueError, match="expected average to be one of raw, unit; got 'mean'"):
        StateEnsemble(average="mean")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"expected a prompt ensemble at .*, found"):
        StateEnsemble(str(tmp_path / "no.yaml"))
