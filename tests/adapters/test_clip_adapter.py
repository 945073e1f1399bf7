from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fakes import FakeTower, fake_batch
from torch.nn import functional

from clad.adapters.clip_adapter import ClipAdapter


def attached(width=16, **settings) -> ClipAdapter:
    adapter = ClipAdapter(**settings)
    adapter.attach(SimpleNamespace(embed_dim=width))
    return adapter


def features():
    return FakeTower().encode_image(fake_batch().images)


def test_clip_l_14_learns_589824_numbers() -> None:
    adapter = attached(768)
    assert [tuple(p.shape) for p in adapter.parameters()] == [(384, 768), (768, 384)]
    assert sum(p.numel() for p in adapter.parameters() if p.requires_grad) == 589_824


def test_embedding_by_hand() -> None:
    adapter = attached(2)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.up.weight.copy_(torch.tensor([[3.0], [-1.0]]))
    plain = features()
    embedding = torch.tensor([[5.0, 3.0], [3.0, 5.0]])
    given = replace(plain, embedding=embedding, pooled=functional.normalize(embedding, dim=1))
    # Down: 5 - 3 = 2 and relu(3 - 5) = 0; up: (6, relu(-2)) and (0, 0).
    expected = torch.tensor([[0.4 * 6 + 0.6 * 5, 0.6 * 3], [0.6 * 3, 0.6 * 5]])
    found = adapter(given)
    torch.testing.assert_close(found.embedding, expected)
    torch.testing.assert_close(found.pooled, functional.normalize(expected, dim=1))


def test_unit_vectors_will_do_as_well_as_embeddings() -> None:
    adapter, given = attached(), features()
    alone = adapter(replace(given, embedding=None))
    assert alone.embedding is None
    torch.testing.assert_close(alone.pooled, adapter(given).pooled)


def test_a_ratio_of_zero_changes_nothing() -> None:
    given = features()
    torch.testing.assert_close(attached(ratio=0.0)(given).pooled, given.pooled)


def test_patches_pass_only_where_asked() -> None:
    given = features()
    torch.manual_seed(0)
    plain = attached()
    torch.manual_seed(0)
    dense = attached(patches=True)
    assert all(a is b for a, b in zip(plain(given).patches, given.patches, strict=True))
    patch = given.patches[0][1, 2]
    adapted = torch.relu(dense.up.weight @ torch.relu(dense.down.weight @ patch))
    expected = functional.normalize(0.4 * adapted + 0.6 * patch, dim=0)
    torch.testing.assert_close(dense(given).patches[0][1, 2], expected)


def test_a_tower_without_a_shared_space_is_refused() -> None:
    given = FakeTower(aligned=False).encode_image(fake_batch().images)
    with pytest.raises(ValueError, match=r"got trunk features only; choose a CLIP tower"):
        attached()(given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.5}, r"expected ratio in \[0, 1\], got 1.5"),
        ({"reduction": 0}, r"expected reduction in \[1, 4096\], got 0"),
        ({"reduction": 17}, "expected reduction of at most 16, .* got 17"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        attached(**settings)
