"""Named in the configuration of trainings that are healed."""

from pathlib import Path

from lightning.pytorch import Callback


class SeenSamples(Callback):
    """Each rank writes down the samples of each step; those of a step that is done again follow."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        names = " ".join(str(record.image_id) for record in batch.records)
        with Path(trainer.default_root_dir, f"seen{trainer.global_rank}").open("a") as file:
            file.write(f"{trainer.world_size} {trainer.global_step} {names}\n")
