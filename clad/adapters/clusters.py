"""How much each patch counts in the one vector that stands for the anomalous part of an image.

Letters in shapes: L layers, P patches, D shared embedding, N points, C their width.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

_SEED = 0
_PATCHES_PER_CLUSTER = 5
"""AdaCLIP's code: 100 patches for 20 clusters."""


def cluster_labels(points: Tensor, num_clusters: int) -> Tensor:
    """(N,) int64 cluster of each point by k-means, the same for the same points.

    Args:
        points: (N, C) float.
        num_clusters: At least 1; taken down to the number of different points.

    Returns:
        Labels from 0; every cluster up to the largest label has a point.

    Source: Lloyd's algorithm from k-means++ seeds, in scikit-learn, with a fixed seed.
    """
    values = points.detach().float().cpu().numpy()
    count = min(num_clusters, len(np.unique(values, axis=0)))
    found = KMeans(count, n_init=1, random_state=_SEED).fit_predict(values)
    # Rounding may leave a cluster empty; close the gaps.
    labels = np.unique(found, return_inverse=True)[1]
    return torch.from_numpy(labels.astype(np.int64)).to(points.device)


def most_anomalous_cluster(patches: Tensor, logits: Tensor, num_clusters: int) -> Tensor:
    """(L, P) float weights: the centroid of the cluster with the largest mean probability.

    Patches, averaged over layers, are clustered; the weights of the winning cluster's are equal.

    Args:
        patches: (L, P, D) float of one image.
        logits: (L, P, 2) float, (normal, anomalous).
        num_clusters: K, at least 1.

    Returns:
        Weights that sum to 1.

    Source: AdaCLIP (Cao et al., ECCV 2024, arXiv:2407.15795), section 3.3, K = 20; its code keeps
    it as a comment.
    """
    labels = cluster_labels(patches.mean(0), num_clusters)
    probability = torch.softmax(logits.float().mean(0), dim=-1)[:, 1]
    sums = torch.zeros(int(labels.max()) + 1, device=labels.device)
    sums = sums.index_add(0, labels, probability)
    best = (sums / labels.bincount()).argmax()
    chosen = (labels == best).to(patches.dtype)
    return (chosen / chosen.sum() / len(patches)).expand(len(patches), -1)


def mean_of_anomalous_clusters(patches: Tensor, logits: Tensor, num_clusters: int) -> Tensor:
    """(L, P) float weights: the mean of the centroids among the most anomalous patches.

    The 5 K patches with the largest mean logit difference are clustered by their features of all
    layers, stacked; each cluster counts alike, however many patches it holds.

    Args:
        patches: (L, P, D) float of one image.
        logits: (L, P, 2) float, (normal, anomalous).
        num_clusters: K, at least 1.

    Returns:
        Weights that sum to 1.

    Source: AdaCLIP's code, ``HybridSemanticFusion``, which its authors found steadier than what the
    paper says.
    """
    num_layers, num_patches = patches.shape[:2]
    difference = (logits[..., 1] - logits[..., 0]).float().mean(0)
    chosen = difference.topk(min(num_patches, _PATCHES_PER_CLUSTER * num_clusters)).indices
    labels = cluster_labels(patches[:, chosen].transpose(0, 1).flatten(1), num_clusters)
    sizes = labels.bincount().to(patches.dtype)
    weights = patches.new_zeros(num_patches)
    weights[chosen] = 1 / (len(sizes) * sizes[labels])
    return (weights / num_layers).expand(num_layers, -1)
