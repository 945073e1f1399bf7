from __future__ import annotations

import pytest
import torch

from clad.adapters.clusters import (
    cluster_labels,
    mean_of_anomalous_clusters,
    most_anomalous_cluster,
)


def unit(*rows) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def logits_of(*anomalous: float) -> torch.Tensor:
    """(P, 2), the normal logit 0."""
    column = torch.tensor(anomalous)
    return torch.stack([torch.zeros_like(column), column], dim=1)


def test_well_separated_groups_are_found_and_runs_repeat():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    truth = torch.randint(0, 3, (60,))
    points = centres[truth] + 0.1 * torch.randn(60, 2)
    labels = cluster_labels(points, 3)
    for group in range(3):
        assert len(labels[truth == group].unique()) == 1
    assert len(labels.unique()) == 3
    assert torch.equal(labels, cluster_labels(points, 3))


def test_there_are_no_more_clusters_than_different_points():
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    labels = cluster_labels(points, 20)
    assert sorted(labels.tolist()) == [0, 0, 1] or sorted(labels.tolist()) == [0, 1, 1]
    assert labels[0] == labels[2] != labels[1]
    assert cluster_labels(torch.ones(5, 3), 4).tolist() == [0] * 5


def test_paper_takes_the_centroid_of_the_cluster_with_the_largest_mean():
    """Two groups; the second has the single largest logit, the first the larger mean."""
    patches = torch.stack([unit((1, 0), (1, 0.1), (0, 1), (0.1, 1), (0, 1.1))] * 2)
    logits = torch.stack([logits_of(2.0, 2.0, 5.0, -5.0, -5.0)] * 2)
    weights = most_anomalous_cluster(patches, logits, 2)
    expected = torch.tensor([[0.25, 0.25, 0, 0, 0]] * 2)
    torch.testing.assert_close(weights, expected)


def test_code_counts_each_cluster_alike_among_the_most_anomalous():
    """One cluster keeps 5 patches: the least anomalous of six is out, the rest count alike."""
    patches = unit((1, 0), (1, 0.1), (1, 0.2), (0, 1), (0.1, 1), (1, 1))[None]
    logits = logits_of(3.0, 2.0, 1.0, 4.0, 5.0, -1.0)[None]
    one = mean_of_anomalous_clusters(patches, logits, 1)
    torch.testing.assert_close(one, torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2, 0.0]]))
    # Two clusters of three and two patches, and room for all six but for a far third kind.
    patches = unit((1, 0), (1, 0.1), (1, 0.2), (0, 1), (0.1, 1))[None]
    two = mean_of_anomalous_clusters(patches, logits[:, :5], 2)
    torch.testing.assert_close(two, torch.tensor([[1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4]]))


@pytest.mark.parametrize("find", [most_anomalous_cluster, mean_of_anomalous_clusters])
def test_weights_sum_to_one_and_layers_count_alike(find):
    torch.manual_seed(1)
    patches = torch.nn.functional.normalize(torch.randn(3, 40, 8), dim=-1)
    weights = find(patches, torch.randn(3, 40, 2), 6)
    assert weights.shape == (3, 40)
    assert weights.sum().item() == pytest.approx(1)
    assert torch.equal(weights[0], weights[2])
    assert (weights >= 0).all()
