"""The peer of benchmarks/faces.py: scikit-learn on pooled features of the packaged tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clad.cli.config_files import find_recipe
from clad.cli.session import open_session
from clad.features import image_statistics, token_maps


def logistic_regression(root: Path, place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the test images.

    Args:
        root: Folder with train/ and test/, each with real/ and fake/.
        place: Folder for what a session writes.
    """
    recipe = find_recipe("faces_linear_probe.yaml")
    words = [f"--config={recipe}", f"--trainer.default_root_dir={place}", f"--data.root={root}"]
    session = open_session("test", words, "clad test")
    rows = []
    for samples in (session.data.splits.train, session.data.splits.test):
        vectors, labels = [], []
        for batch in session.data.plain_dataloader(samples):
            with torch.no_grad():
                seen = session.task.tower.encode_image(batch.images)
            statistics = image_statistics(token_maps(seen))
            vectors.append(torch.cat([seen.summary, statistics], 1).numpy())
            labels.append(batch.labels.numpy())
        rows.append((np.concatenate(vectors), np.concatenate(labels)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    (train_vectors, train_labels), (vectors_of_test, test_labels) = rows
    model.fit(train_vectors, train_labels)
    return model.decision_function(vectors_of_test), test_labels
