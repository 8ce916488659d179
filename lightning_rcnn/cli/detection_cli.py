"""The run of one training command: configuration, run folder, checkpoint, model, data and trainer."""

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.callbacks.analysis_report import AnalysisReport
from lightning_rcnn.callbacks.background_checkpoints import BackgroundCheckpointIO
from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
from lightning_rcnn.callbacks.run_loggers import keep_in_run_folder, log_at
from lightning_rcnn.callbacks.wandb_lineage import wait_for_training
from lightning_rcnn.checkpoints.header import position_of, read_header
from lightning_rcnn.cli.best_thresholds import store_thresholds
from lightning_rcnn.cli.composing import compose, take_config_files
from lightning_rcnn.cli.flags import flag_value
from lightning_rcnn.cli.forking import become_a_rank
from lightning_rcnn.cli.known_classes import CLASSES
from lightning_rcnn.cli.known_keys import KnownKeys
from lightning_rcnn.cli.model_from_data import SPLITS, take_from_data
from lightning_rcnn.cli.nested_help import with_model_of_help
from lightning_rcnn.cli.nested_nulls import take_nested_nulls
from lightning_rcnn.cli.parse_errors import located, refused_by_constructor
from lightning_rcnn.cli.refused_callbacks import refuse_callbacks, refuse_no_checkpoints
from lightning_rcnn.cli.refused_start import HeldFolder, make_and_hold, removed_if_unused
from lightning_rcnn.cli.resume import begin_other_run, check_resume
from lightning_rcnn.cli.run_config import SaveRunConfig, loggers_of
from lightning_rcnn.cli.run_copy import copy_of_run, in_copy, push_after_checkpoint, pushed_at_end
from lightning_rcnn.cli.run_lock import is_held
from lightning_rcnn.cli.run_loggers import flags_with_our_loggers, replace_loggers
from lightning_rcnn.cli.run_options import add_run_options
from lightning_rcnn.cli.run_paths import checkpoint_of, choose_run_dir, model_of_checkpoint, refuse_to_overwrite
from lightning_rcnn.cli.run_settings import differences
from lightning_rcnn.cli.run_trainer import (
    callbacks_of_every_run,
    callbacks_with_progress,
    refusal,
    run_plugins,
    run_precision,
)
from lightning_rcnn.cli.seeds import SEED, resolve_seed
from lightning_rcnn.cli.setting_keys import under_its_key
from lightning_rcnn.cli.showing import SHOW, leave_out_training
from lightning_rcnn.cli.tiles_and_views import given_tiles_and_views
from lightning_rcnn.cli.training_help import TrainingHelp
from lightning_rcnn.cli.training_parser import ParserError, RunTrainer, TrainingParser, as_yaml
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.working_copy import WorkingCopy
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.launchers import rank_of
from lightning_rcnn.parsing import prepare_parsing
from lightning_rcnn.plain_data import merge
from lightning_rcnn.stop_signals import listen

prepare_parsing()

DEFAULT_LOGGERS: dict[str, Any] = {"fit": {"class_path": "DetectionWandbLogger"}}
"""Command -> default of `trainer.logger`; the other commands print and write their metrics."""


class DetectionCLI(LightningCLI):
    """One run.

    What differs from Lightning's own command line:

    - configuration files may have a `base`, and wrong keys and values are reported with file, line and a suggestion;
    - the classes come from the data;
    - all files of a run lie in `run_dir`, and with `--ckpt_path last` the same command starts and resumes it;
    - with `fit`, configuration and flags override a checkpoint; the other commands take the model from it.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.command = arguments[0]
        options = {"allow_abbrev": False, "formatter_class": TrainingHelp}
        self._analysis = AnalysisReport()
        self._copy: WorkingCopy | None = None
        self._written_copy: WorkingCopy | None = None  # of rank 0 only, once the start is not refused
        self._held_folder = HeldFolder(None, [])  # the run folder, on rank 0
        with removed_if_unused(lambda: self._held_folder.made), pushed_at_end(lambda: self._written_copy):
            super().__init__(
                Detector,
                DetectionDataModule,
                subclass_mode_model=True,
                auto_configure_optimizers=False,
                seed_everything_default=0,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                trainer_class=RunTrainer,
                trainer_defaults={"callbacks": callbacks_of_every_run(self._analysis)},
                parser_class=TrainingParser,
                parser_kwargs={"prog": "lightning-rcnn", **options, self.command: {**options}},
                args=arguments,
            )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # there it asks nothing of the run
        """Return the command of this run, with the arguments of the trainer's method that are no options.

        Lightning builds a parser for each, which takes longer than all else before the classes are built.
        """
        commands = {**LightningCLI.subcommands(), SHOW: {"model", "datamodule"}}
        return {self.command: commands[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that Lightning does not have."""
        add_run_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Compose the configuration files, check every key, and let jsonargparse do the rest."""
        assert isinstance(args, list)
        files, flags = take_config_files(args[1:])
        composition = compose(files)
        flags = flags_with_our_loggers(flags)
        replace_loggers(composition.content)
        keys = KnownKeys(self._subcommand_parsers[self.command], CLASSES)
        defaults: dict[str, Any] = {"trainer": {"logger": DEFAULT_LOGGERS.get(self.command, False)}}
        keys.check_flags(flags, merge(defaults, composition.content))
        keys.check_files(composition)
        flags = with_model_of_help(flags, composition.content)
        if self.command in ("validate", "test"):
            defaults["verbose"] = False  # Lightning's table has a row per class, and the report has its own tables
        flags, given = take_nested_nulls(flags, composition.content, Detector)
        content = merge(defaults, keys.with_import_paths(given))
        only_shows = any(flag in ("-h", "--help") or flag.startswith("--print_config") for flag in flags)
        if not only_shows:
            content = merge(self._choose_paths(files, flags, content), content)
            if self.command in ("validate", "test") and "logger" not in (given.get("trainer") or {}):
                content["trainer"]["logger"] = loggers_of(self.run_dir) or False
            if not content.get("model") and not any(flag.startswith("--model") for flag in flags):
                raise InputError("no model: give a configuration with --config FILE, or --model FasterRCNN")
            seed = flag_value(flags, SEED) or content.get(SEED)
            drawn = resolve_seed(seed, self.run_dir, resumes=self.checkpoint is not None)
            flags = [*flags, *([] if drawn is None else [f"--{SEED}", str(drawn)])]
        try:
            self.config = parser.parse_args([self.command, "--config", as_yaml(content), *flags])
        except ParserError as error:
            raise InputError(located(str(error), flags, sorted(keys.flags), composition)) from error
        self._flags, self._composition = flags, composition  # for errors of constructors
        self.config[self.command]["run_dir"] = self._shown_run_dir

    @property
    def _shown_run_dir(self) -> str:
        """The run folder as the user knows it: a folder, or a URL."""
        return str(self.run_dir) if self._copy is None else self._copy.url

    def _choose_paths(self, files: list[Path], flags: list[str], content: dict[str, Any]) -> dict[str, Any]:
        """Choose run folder and checkpoint; return the configuration of the model in the checkpoint."""

        def given(key: str) -> str | None:
            value = flag_value(flags, key) or content.get(key)
            return None if value in (None, "null") else str(value)

        run_dir, ckpt_path = given("run_dir"), given("ckpt_path")
        self._copy = None if self.command == SHOW else copy_of_run(run_dir, ckpt_path, self.command)
        if self._copy is not None:
            run_dir, ckpt_path = str(self._copy.folder), in_copy(self._copy, ckpt_path)
        self.run_dir = choose_run_dir(run_dir, files, ckpt_path, self.command)
        self._ckpt_path = ckpt_path
        self.checkpoint = None if self.command == SHOW else checkpoint_of(self.run_dir, ckpt_path, self.command)
        if self.checkpoint is None:
            if ckpt_path is not None:
                rank_zero_info(f"{self.run_dir} has no checkpoint yet: the training starts from scratch.")
            return {}
        self._checkpoint_time = self.checkpoint.stat().st_mtime_ns
        return model_of_checkpoint(self.checkpoint, self.command)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let a checkpoint's hyperparameters override configuration and flags."""

    def before_instantiate_classes(self) -> None:
        """Check run folder, callbacks and data, and take classes and pixels from the data."""
        config = self.config[self.command]
        refuse_callbacks(config.trainer.callbacks)
        refuse_no_checkpoints(config.trainer)
        if self.command == SHOW:
            leave_out_training(config)
        self._data_set = take_from_data(config, self.command)
        if self._writes_a_run:
            self._settings = yaml.safe_load(self._parser(self.command).dump(config))

    @property
    def _writes_a_run(self) -> bool:
        return self.command == "fit" and not self.config[self.command].trainer.fast_dev_run

    def _enter_run_folder(self) -> None:
        """Check that this command may write where it is going to, and keep other trainings out.

        Raises:
            Finished: nothing is left to do.
            InputError: it may not.
        """
        config, changes, is_first = self.config[self.command], [], rank_of(os.environ) == 0
        if self._writes_a_run:
            refuse_to_overwrite(self.run_dir, self.checkpoint)
            changes = differences(self.run_dir, self._settings, self.checkpoint)
        if self._writes_a_run and is_first:  # another rank would make the folder again when this one has removed it
            self._held_folder = make_and_hold(self.run_dir, changes)
            begin_other_run(self.run_dir, self.checkpoint, changes)
        if self._copy is not None and is_first and not config.trainer.fast_dev_run:
            self._copy.require_writable()
            self._written_copy = self._copy
        if self._writes_a_run and self.checkpoint is not None:
            trainer = config.trainer.as_dict()
            check_resume(self.run_dir, self.checkpoint, trainer, changes)

    def instantiate_classes(self) -> None:
        """Build model, data and trainer.

        Raises:
            InputError: the error of a constructor, without the text that jsonargparse adds.
        """
        data, split = self.config[self.command].data, SPLITS[self.command]
        given = data[split]
        data[split] = given if self._data_set is None else self._data_set
        try:
            with warnings.catch_warnings():
                # jsonargparse's, of the data set that stands in the configuration for the moment.
                warnings.filterwarnings("ignore", message=r"\s*Unable to serialize instance")
                super().instantiate_classes()
            self.model._log_hyperparams = False  # `SaveRunConfig` logs them, under their names in the configuration
            self.model.validation_losses = self.config[self.command].validation_losses
            self.model.tiles_and_views = given_tiles_and_views(self.config[self.command], self.command, self.model)
        except ValueError as error:
            refused = refused_by_constructor(error)
            if refused is None:
                raise
            raise under_its_key(refused, self.config[self.command], self._flags, self._composition) from None
        finally:
            data[split] = given  # for the configuration of the run

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build a trainer that writes into the run folder."""
        if self.command == SHOW:
            return self.trainer_class  # type: ignore[return-value]  # `show` needs none: its method is static
        if self.command == "fit" and become_a_rank(self.datamodule.batch_size):
            self.checkpoint = checkpoint_of(self.run_dir, self._ckpt_path, "fit")  # there may be another one by now
        self._enter_run_folder()
        output = self.run_dir if self.command == "fit" else self.run_dir / self.command
        if self.command == "fit" and self.config[self.command].data.val is None:
            kwargs["limit_val_batches"] = 0
            rank_zero_info("No --data.val: nothing is validated, so there are no metrics to choose best.ckpt by.")
        given = self._get(self.config_init, "trainer")
        after_save = None if self._written_copy is None else partial(push_after_checkpoint, self._written_copy)
        writes_behind = self.command == "fit" and self.config[self.command].background_checkpoints
        writer = BackgroundCheckpointIO(after_save) if writes_behind else AtomicCheckpointIO(after_save)
        plugins = run_plugins(given, writer)
        self._analysis.in_training = self.config[self.command].analysis
        kwargs["callbacks"] = callbacks_with_progress(given, self.config[self.command].progress_seconds)
        kwargs["precision"] = run_precision(given, plugins, self.checkpoint if self.command == "fit" else None)
        try:
            trainer = super().instantiate_trainer(default_root_dir=str(output), plugins=plugins, **kwargs)
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise refusal(given, error) from error
        keep_in_run_folder(trainer, self.run_dir)
        if self.command in ("validate", "test") and self.checkpoint is not None:
            log_at(trainer, *position_of(self.checkpoint))
            if is_held(self.run_dir):
                wait_for_training(trainer)
        return trainer

    def after_instantiate_classes(self) -> None:
        """Give the chosen checkpoint to the trainer; the saved configuration keeps the value that the user gave."""
        self.config_init[self.command]["ckpt_path"] = self.checkpoint and str(self.checkpoint)

    def before_fit(self) -> None:
        """Note signals from now on: other processes are started, or met, and all have to agree on a stop."""
        listen()

    def after_fit(self) -> None:
        """Log where the files of the run are."""
        if not self.config.fit.trainer.fast_dev_run:
            rank_zero_info(f"Checkpoints, metrics and images are in {self._shown_run_dir}.")

    def after_validate(self) -> None:
        """Store the best threshold beside the weights."""
        self._store_thresholds()

    def after_test(self) -> None:
        """Store the best threshold if no validation did: one that is chosen on test data flatters the test."""
        assert self.checkpoint is not None
        if not read_header(self.checkpoint).thresholds:
            self._store_thresholds()

    def _store_thresholds(self) -> None:
        assert self.checkpoint is not None
        if self._copy is not None:  # a training on another machine may write there, and its lock is not seen here
            rank_zero_info(
                f"The best threshold is not stored in a checkpoint of a cloud; copy {self.checkpoint} for it."
            )
            return
        store_thresholds(self._analysis.thresholds, self.checkpoint, self._checkpoint_time, self.run_dir)
