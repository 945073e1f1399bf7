"""Every head of configs/head keeps the contract, a newcomer's without a line here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import FakeTower, build_slot, fake_batch
from torch.nn import functional

from clad.alignment import align
from clad.heads.base import Head
from clad.towers.classifier import Classifier
from clad.types import Alignment, ImageFeatures, TextPrototypes

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "head").glob("*.yaml"))
NAMES = ("bottle", "pcb1")
SIZE = (32, 32)
NUM_IMAGES = 24


def steady_images(seed: int, count: int = NUM_IMAGES) -> torch.Tensor:
    """Grey images of one brightness each, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(-6, 7, (count, 3, *SIZE), generator=generator)
    level = torch.randint(120, 136, (count, 1, 1, 1), generator=generator)
    return (level + noise).to(torch.uint8)


def with_defect(images: torch.Tensor) -> torch.Tensor:
    """The same images with a square of saturated stripes."""
    spoilt = images.clone()
    spoilt[:, :, 8:24, 8:24:2] = 255
    spoilt[:, :, 8:24, 9:24:2] = 0
    return spoilt


class Bench:
    """A tower, words that point from normal images to spoilt ones, and a head from its YAML."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A gradient is taken by the last layer, which must be fine enough to show the defect.
        self.differentiates = build_slot(path, "head", Head).needs_gradients
        self.tower = FakeTower(image_size=(64, 64) if self.differentiates else SIZE)
        normal, spoilt = (
            self.tower.encode_image(images)
            for images in (steady_images(5), with_defect(steady_images(5)))
        )
        means = torch.stack([normal.summary.mean(0), spoilt.summary.mean(0)])
        bias = -means.square().sum(1) / 2
        self.tower.classifier = lambda: Classifier(("real", "fake"), means, bias)
        rows = []
        for features in (normal, spoilt):
            every = torch.cat([features.pooled, *(p.flatten(0, 1) for p in features.patches)])
            rows.append(functional.normalize(every.mean(0), dim=0))
        pair = torch.stack(rows).expand(len(NAMES), 2, -1)
        self.prototypes = TextPrototypes(NAMES, pair)

    def build(self, names=NAMES) -> Head:
        head = build_slot(self.path, "head", Head)
        head.attach(self.tower, names)
        return head

    def look(self, images: torch.Tensor, names: tuple[str, ...]) -> tuple[ImageFeatures, Alignment]:
        pixels = self.tower.prepare(images)
        with torch.set_grad_enabled(self.differentiates or torch.is_grad_enabled()):
            features = self.tower.encode_pixels(pixels.requires_grad_(self.differentiates))
            return features, align(features, self.prototypes, names, 10.0)

    def fit(self, head: Head) -> Head:
        names = NAMES * (NUM_IMAGES // 2)
        if head.classifies and list(head.parameters()):
            self.teach(head, names)
        if head.needs_reference:
            head.start_reference()
            for seed in (1, 2):
                head.observe(self.look(steady_images(seed), names)[0], names)
            head.finish_reference()
        if head.needs_validation:
            head.start_validation()
            head.observe_validation(*self.look(steady_images(3), names), names, (0,) * NUM_IMAGES)
            head.finish_validation()
        return head

    def teach(self, head: Head, names: tuple[str, ...]) -> None:
        """Train logits of its own, from the first weights on, with defects in known places."""
        torch.manual_seed(0)
        head.attach(self.tower, NAMES)
        images = torch.cat([steady_images(1), with_defect(steady_images(1))])
        with torch.no_grad():
            features, alignment = self.look(images, names * 2)
        labels = torch.arange(2).repeat_interleave(NUM_IMAGES)
        masks = (images != images[:NUM_IMAGES].repeat(2, 1, 1, 1)).any(1, keepdim=True).float()
        optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
        head.train()
        for _ in range(60):
            optimizer.zero_grad()
            found = head.classify(features, alignment)
            loss = functional.cross_entropy(found.image_logits, labels)
            for logits, grid in zip(found.patch_logits, found.grids, strict=True):
                share = functional.adaptive_avg_pool2d(masks, grid).flatten(1)
                targets = torch.stack([1 - share, share], 1)
                loss = loss + functional.cross_entropy(logits.transpose(1, 2), targets)
            loss.backward()
            optimizer.step()
        head.eval()

    def predict(self, head: Head, images: torch.Tensor, first: int = 0):
        names = (NAMES * len(images))[first : first + len(images)]
        with torch.no_grad():
            return head.eval()(*self.look(images, names), names, SIZE)


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def bench(request) -> Bench:
    return Bench(request.param)


def test_scores_and_maps_have_the_shape_of_the_batch_and_are_finite(bench):
    found = bench.predict(bench.fit(bench.build()), steady_images(4, 6))
    assert found.scores.shape == (6,)
    assert found.scores.isfinite().all()
    assert not found.scores.requires_grad
    for part in found.parts.values():
        assert part.shape == (6,)
        assert part.isfinite().all()
    if found.maps is not None:
        assert found.maps.shape == (6, *SIZE)
        assert found.maps.isfinite().all()
        assert not found.maps.requires_grad


def test_a_head_that_differentiates_refuses_features_without_a_graph(bench):
    if not bench.differentiates:
        pytest.skip("this head does not differentiate")
    head = bench.fit(bench.build())
    features, alignment = bench.look(steady_images(4, 2), NAMES)
    plain = replace(alignment, image_logits=alignment.image_logits.detach())
    with pytest.raises(ValueError, match=r"expected features with a graph .*, got plain tensors"):
        head(features.map(torch.Tensor.detach), plain, NAMES, SIZE)


def test_a_planted_defect_scores_higher_and_lies_where_the_map_says(bench):
    head = bench.fit(bench.build())
    images = steady_images(4, 6)
    normal, spoilt = bench.predict(head, images), bench.predict(head, with_defect(images))
    assert spoilt.scores.min() > normal.scores.max()
    if spoilt.maps is not None:
        assert spoilt.maps[:, 12:20, 12:20].mean() > spoilt.maps[:, :4].mean()
        assert spoilt.maps.amax((1, 2)).min() > normal.maps.amax((1, 2)).max()


def test_an_image_scores_alone_as_in_a_batch(bench):
    head = bench.fit(bench.build())
    images = torch.cat([steady_images(4, 3), with_defect(steady_images(6, 3))])
    together = bench.predict(head, images)
    for row in range(6):
        alone = bench.predict(head, images[row : row + 1], first=row % 2)
        torch.testing.assert_close(alone.scores[0], together.scores[row], atol=1e-4, rtol=1e-4)
        if together.maps is not None:
            torch.testing.assert_close(alone.maps[0], together.maps[row], atol=1e-4, rtol=1e-4)


def test_state_makes_the_round_trip_through_a_fresh_head(bench):
    head, fresh = bench.fit(bench.build()), bench.build()
    fresh.load_state_dict(head.state_dict())
    images = steady_images(4, 4)
    expected, found = bench.predict(head, images), bench.predict(fresh, images)
    assert torch.equal(found.scores, expected.scores)
    assert (found.maps is None) == (expected.maps is None)
    assert found.maps is None or torch.equal(found.maps, expected.maps)


def test_state_makes_the_round_trip_before_anything_was_observed(bench):
    fresh = bench.build().state_dict()
    fitted = bench.fit(bench.build())
    fitted.load_state_dict(fresh)
    torch.testing.assert_close(fitted.state_dict(), fresh, rtol=0, atol=0)


def test_fitting_again_forgets_and_repeats(bench):
    head = bench.fit(bench.build())
    once = {name: value.clone() for name, value in head.state_dict().items()}
    torch.testing.assert_close(bench.fit(head).state_dict(), once, rtol=0, atol=0)


def test_attaching_anew_forgets_what_was_observed(bench):
    head = bench.fit(bench.build())
    head.attach(bench.tower, NAMES)
    torch.testing.assert_close(head.state_dict(), bench.build().state_dict())


def test_a_head_that_saw_nothing_refuses_in_a_sentence(bench):
    head = bench.build()
    if not (head.needs_reference or head.needs_validation):
        pytest.skip("this head needs to see nothing")
    with pytest.raises(ValueError, match=r"expected .*, got none; .*train"):
        bench.predict(head, steady_images(4, 2))


def test_nothing_that_it_keeps_carries_a_graph(bench):
    bench.tower.requires_grad_(True)
    head = bench.fit(bench.build())
    assert not any(value.requires_grad for value in head.buffers())


def test_text_is_looked_at_only_where_the_head_says_so(bench):
    head = bench.fit(bench.build())
    if head.needs_text:
        pytest.skip("this head needs text")
    features, _ = bench.look(steady_images(4, 2), NAMES)
    alone = replace(features, patches=None, pooled=None)
    assert head(alone, None, NAMES, SIZE).scores.isfinite().all()


def test_features_of_a_batch_from_elsewhere_fit_too(bench):
    head = bench.fit(bench.build())
    batch = fake_batch(categories=("pcb1", "bottle", "pcb1"), labels=(0, 1, 0))
    found = head(*bench.look(batch.images, batch.categories), batch.categories, (20, 28))
    assert found.scores.shape == (3,)
    assert found.maps is None or found.maps.shape == (3, 20, 28)
