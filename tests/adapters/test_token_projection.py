from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.adapters.token_projection import TokenProjection


def made(**settings) -> TokenProjection:
    adapter = TokenProjection(**({"hidden_dim": 8} | settings))
    adapter.attach(FakeTower(aligned=False))
    return adapter


def features():
    return FakeTower(aligned=False).encode_image(fake_batch().images)


def test_one_layer_of_patches_on_the_finest_grid():
    found = made()(features())
    assert found.patch_grids == ((4, 4),)
    assert found.grids == ((4, 4), (2, 2))
    assert [p.shape for p in found.patches] == [(4, 16, 16)]


def test_tokens_are_standardised_by_the_batch_in_training_and_by_memory_after():
    adapter = made(dropout=0.0)
    shifted = features()
    adapter.eval()
    before = adapter(shifted).pooled
    adapter.train()
    for _ in range(200):
        in_training = adapter(shifted).pooled
    adapter.eval()
    after = adapter(shifted).pooled
    assert not torch.allclose(before, after, atol=1e-2)
    # Running variances are unbiased, those of the batch are not: close, not equal.
    torch.testing.assert_close(after, in_training, atol=0.1, rtol=0.1)


def test_dropout_acts_in_training_only():
    adapter = made(dropout=0.5).train()
    assert not torch.equal(adapter(features()).pooled, adapter(features()).pooled)
    adapter.eval()
    assert torch.equal(adapter(features()).pooled, adapter(features()).pooled)


def test_a_patch_feels_its_neighbourhood_and_no_more():
    adapter = made(neighbourhood=3).eval()
    plain = features()
    touched = features()
    touched.tokens[0][:, 0] += 1.0  # the upper left corner of the finest layer
    change = (adapter(plain).patches[0] - adapter(touched).patches[0]).abs().amax((0, 2))
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(change.view(4, 4) > 1e-6, expected)


def test_unit_tokens_make_it_blind_to_gain():
    plain = features()
    louder = replace(plain, tokens=tuple(5.0 * each for each in plain.tokens))
    for unit_tokens in (True, False):
        adapter = made(unit_tokens=unit_tokens).eval()
        same = torch.allclose(adapter(plain).patches[0], adapter(louder).patches[0], atol=1e-5)
        assert same == unit_tokens


def test_scale_starts_as_told_learns_and_stops_at_100():
    adapter = made(initial_logit_scale=20.0)
    assert adapter.logit_scale.item() == pytest.approx(20)
    assert adapter.logit_scale.requires_grad
    with torch.no_grad():
        adapter.log_scale += 10
    assert adapter.logit_scale.item() == pytest.approx(100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbourhood": 2}, "expected an odd neighbourhood of at least 1, got 2"),
        ({"neighbourhood": -1}, "expected an odd neighbourhood of at least 1, got -1"),
        ({"dropout": 1.0}, r"expected dropout in \[0, 0.99\], got 1.0"),
        ({"initial_logit_scale": 200}, "expected initial_logit_scale in"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TokenProjection(**settings)
