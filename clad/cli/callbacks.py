"""What the trainer does for the command line while it runs."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from clad.cli.predictions import PredictionWriter
from clad.cli.run_folders import CONFIG
from clad.explain.vocabulary import DescribedPrediction
from clad.reports.files import write_text
from clad.stopwatch import WRITE
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.parameter_counts import in_words
from clad.types import Batch

_MOST_LINES = 10


class KeepConfiguration(Callback):
    """Writes ``config.yaml`` once everything is set up, so that a refused run leaves nothing.

    Args:
        text: The resolved configuration.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        if trainer.is_global_zero and not trainer.fast_dev_run:
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / CONFIG, self.text)

    on_fit_start = on_validation_start = on_test_start = on_predict_start = _write


class TellProgress(Callback):
    """Says what learns and, where no progress bar is seen, how the loss goes.

    Args:
        each_epoch: Whether to print lines while training; ten at most.
    """

    def __init__(self, each_epoch: bool) -> None:
        self.each_epoch = each_epoch

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how many weights learn, in all and in each part."""
        if trainer.is_global_zero:
            assert isinstance(pl_module, AnomalyTask)
            counts = pl_module.parameter_counts
            learning = sum(count.learning for count in counts.values())
            total = learning + sum(count.frozen for count in counts.values())
            print(f"{learning:,} of {total:,} weights learn; writing to {trainer.default_root_dir}")
            print(f"weights that learn: {in_words(counts)}")
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the loss of this epoch, if it is due."""
        del pl_module
        if not (self.each_epoch and trainer.is_global_zero):
            return
        done, total = trainer.current_epoch + 1, trainer.max_epochs or -1
        step = max(1, -(-total // _MOST_LINES))
        if done % step and done != total:
            return
        loss = trainer.callback_metrics.get("train/loss")
        shown = "" if loss is None else f": loss {float(loss):.4g}"
        epochs = f"{done}/{total}" if total > 0 else f"{done}"
        print(f"epoch {epochs}{shown}, {time.perf_counter() - self._began:.0f} s", flush=True)


class Bar(TQDMProgressBar):
    """A progress bar with losses, without the logger's version."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown


class KeepPredictions(Callback):
    """Hands every predicted batch to a writer.

    Args:
        writer: Takes them in.
    """

    def __init__(self, writer: PredictionWriter) -> None:
        self.writer = writer

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: DescribedPrediction,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep one batch."""
        del trainer, batch_idx, dataloader_idx
        assert isinstance(pl_module, AnomalyTask)
        with pl_module.watch(WRITE):
            self.writer.add(outputs, batch)
