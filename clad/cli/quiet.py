"""Keeps back what libraries say and a user cannot act on, sentence by sentence.

Everything else still comes through, new messages of a library as well.
"""

from __future__ import annotations

import logging
import warnings

_LOGGERS = ("lightning.pytorch", "lightning.fabric")

# Beginnings of log messages.
_MESSAGES = (
    "\N{ELECTRIC LIGHT BULB} Tip",
    "Detected KeyboardInterrupt",  # we say it, with what is left
    "GPU available",
    "HPU available",
    "LOCAL_RANK",
    "Loaded model weights from the checkpoint",  # we say it
    "Restored all states from the checkpoint",
    "Restoring states from the checkpoint",
    "Seed set to",  # stands in config.yaml
    "TPU available",
    "`Trainer.fit` stopped",  # it always does
    "`Trainer(limit_train_batches=1)` was configured",  # by recipes that learn nothing
)

# Regular expressions that warnings begin with.
_WARNINGS = (
    # Loader processes are chosen by the number of images; a hint to raise them is wrong for few.
    r"The '\w+_dataloader' does not have many workers",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # Ours on purpose: results go where the checkpoint is when the user says so.
    r"Checkpoint directory .* exists and is not empty",
    # A run that uses or continues another run's weights writes to its own directory.
    r"The dirpath has changed from",
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
    # A recipe without losses learns nothing, and its memory is built at the end of training.
    r"`LightningModule.configure_optimizers` returned `None`",
    r"`training_step` returned `None`",
    # A frozen tower stays in evaluation mode.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # Lightning's own use of torch.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


class _Without(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """False for messages that begin in a known way."""
        return not record.getMessage().lstrip().startswith(_MESSAGES)


def quieten() -> None:
    """Install the filters; calling it again changes nothing."""
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(each, _Without) for each in handler.filters):
                handler.addFilter(_Without())
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)
