"""MLflow logger: a run folder is one MLflow run."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeVar

from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn
from PIL import Image

from lightning_rcnn.callbacks.flat_settings import flat_settings
from lightning_rcnn.callbacks.mlflow_names import name_of
from lightning_rcnn.callbacks.run_loggers import PlacedLogger, experiment_of_run, only_warns
from lightning_rcnn.checkpoints.reading import checkpoint_files
from lightning_rcnn.errors import require_extra
from lightning_rcnn.files import atomic_write
from lightning_rcnn.stop_signals import received

PACKAGE = EXTRA = "mlflow"
RUN_ID = "mlflow_run_id"
"""File in the run folder that holds the id of its MLflow run."""
FOLDER = "mlruns"
"""Folder in the run folder that takes the place of a server."""
DEFAULT_EXPERIMENT = "lightning-rcnn"
ENVIRONMENT = {
    # A folder needs no database, whose first start takes seconds, and no file locks, which clusters may lack.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # A server that does not answer stops a training for seconds, not for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Defaults of MLflow's environment variables."""
MOST_FIGURES, MOST_SETTINGS = 1000, 100
"""Limits of one request."""
LONGEST_VALUE = 500
"""Characters of a setting that every server since 1.28 takes; the whole ones are in the artifact `config.json`."""
SETTINGS_FILE = "config.json"
_NOT_IN_IMAGE_NAMES = re.compile(r"[^a-zA-Z0-9_. -]")

Item = TypeVar("Item")


class DetectionMLFlowLogger(PlacedLogger):
    """Logs to the MLflow server of `tracking_uri`, else to the folder `mlruns` in the run folder.

    A run folder is one MLflow run, also when the training resumes: the file `mlflow_run_id` holds its id. Figures that
    are not finite are left out. MLflow never changes a parameter: where a resumed training has other settings, they
    are tags of the same names. A run that a signal stopped has the status KILLED until it resumes.

    Args:
        experiment_name: MLflow experiment.
        run_name: name of the run; by default the name of the run folder.
        tracking_uri: server, database or folder; by default `MLFLOW_TRACKING_URI`, else the run folder.
        tags: tags of the run.
        save_dir: folder for id and files; by default the run folder.
        log_model: upload `best.ckpt` and `last.ckpt` at the end ("all": each time one is written).
        artifact_location: storage of the files of a new experiment; by default the server's.
        run_id: MLflow run to continue; by default the one of the run folder.

    Raises:
        InputError: MLflow is not installed.
    """

    def __init__(
        self,
        experiment_name: str = DEFAULT_EXPERIMENT,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
        save_dir: str | Path | None = None,
        log_model: Literal["all"] | bool = False,
        artifact_location: str | None = None,
        run_id: str | None = None,
    ) -> None:
        require_extra(PACKAGE, EXTRA, "MLFlowLogger")
        super().__init__()
        self._experiment_name, self._run_name, self._tags = experiment_name, run_name, tags or {}
        self._tracking_uri, self._artifact_location = tracking_uri, artifact_location
        self._given_folder = None if save_dir is None else Path(save_dir)
        self._log_model, self._run_id = log_model, run_id
        self._checkpoints: set[str] = set()
        self._client: Any = None

    @property
    def save_dir(self) -> str:
        """Folder of id and files."""
        return str(self._given_folder or self._run_folder)

    @property
    def name(self) -> str:
        """MLflow experiment."""
        return self._experiment_name

    @property
    def version(self) -> str:
        """Id of the run, once it has started or was given; before that empty, as part of the names of folders."""
        return self._run_id or ""

    @property
    def run_id(self) -> str | None:
        """Id of the run, started at first use; None if MLflow did not start."""
        self.has_started = True
        _ = self.experiment
        return self._run_id

    @property
    @experiment_of_run
    def experiment(self) -> Any:
        """The `MlflowClient`; on other ranks than the first, and if MLflow did not start, a dummy."""
        if self._client is None:
            self._client = self._start() or DummyExperiment()
        return self._client

    @rank_zero_only
    @only_warns
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a point to each curve."""
        from mlflow.entities import Metric

        placed, at = self.placed(metrics, step)
        now = int(time.time() * 1000)
        points = [
            Metric(name_of(key), float(value), now, at or 0) for key, value in placed.items() if isfinite(float(value))
        ]
        for some in _chunks(points, MOST_FIGURES):
            self.experiment.log_batch(self.run_id, metrics=some)

    @rank_zero_only
    @only_warns
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Add new settings as parameters and changed ones as tags."""
        from mlflow.entities import Param, RunTag

        values = {name_of(key): str(value)[:LONGEST_VALUE] for key, value in flat_settings(params).items()}
        run = self.experiment.get_run(self.run_id)
        known = run.data.params if run else {}
        new = [Param(key, value) for key, value in values.items() if key not in known]
        changed = [RunTag(key, value) for key, value in values.items() if known.get(key, value) != value]
        for some in _chunks(new, MOST_SETTINGS):
            self.experiment.log_batch(self.run_id, params=some)
        for others in _chunks(changed, MOST_SETTINGS):
            self.experiment.log_batch(self.run_id, tags=others)
        self.experiment.log_dict(self.run_id, dict(params), SETTINGS_FILE)

    def log_picture(self, key: str, picture: Image.Image, step: int) -> None:
        """Add a picture to those of the same name, between which MLflow's page slides.

        Args:
            key: name; characters that MLflow refuses are replaced.
            picture: in RGB.
            step: step of the training.
        """
        name = "/".join(_NOT_IN_IMAGE_NAMES.sub("_", part)[-100:] for part in key.split("/"))
        self.experiment.log_image(self.run_id, picture, key=name, step=self.step_of(step))

    def log_file(self, path: Path) -> None:
        """Upload a file of the run folder, to the same place among the artifacts."""
        folder = path.resolve().parent
        root = self._run_folder.resolve()
        inside = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name
        self.experiment.log_artifact(self.run_id, str(path), None if inside == "." else inside)

    @rank_zero_only
    @only_warns
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload the checkpoint, or note it for the end."""
        callback = checkpoint_callback
        paths = {path for path in (callback.last_model_path, callback.best_model_path) if path}
        if self._log_model == "all":
            self._upload(paths)
        elif self._log_model:
            self._checkpoints |= paths

    @rank_zero_only
    @only_warns
    def finalize(self, status: str) -> None:
        """Upload checkpoints, and set the status of the run."""
        if self._client is None:
            return
        self._upload(self._checkpoints)
        self._checkpoints = set()
        ending = "FINISHED" if status in ("success", "finished") else "KILLED" if received() else "FAILED"
        self.experiment.set_terminated(self.run_id, ending)

    def _upload(self, paths: set[str]) -> None:
        for path in map(Path, sorted(paths)):
            for file in checkpoint_files(path):
                self.log_file(file)

    @only_warns
    def _start(self) -> Any:
        """Continue the run of the folder, or start one."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient
        from mlflow.tracking.context.registry import resolve_tags

        folder = Path(self.save_dir).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(
            self._tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or (folder / FOLDER).as_uri(),
        )
        known = self._run_id or _id_in(folder)
        if known and _exists(client, known):
            client.update_run(known, status="RUNNING")
            self._run_id = known
            return client
        experiment = client.get_experiment_by_name(self._experiment_name)
        experiment_id = (
            client.create_experiment(self._experiment_name, self._artifact_location)
            if experiment is None
            else experiment.experiment_id
        )
        name = self._run_name or self._run_folder.resolve().name
        self._run_id = client.create_run(experiment_id, tags=resolve_tags(self._tags), run_name=name).info.run_id
        with atomic_write(folder / RUN_ID) as file:
            file.write(f"{self._run_id}\n".encode())
        return client


def _id_in(folder: Path) -> str | None:
    path = folder / RUN_ID
    return path.read_text().strip() or None if path.exists() else None


def _exists(client: Any, run_id: str) -> bool:
    """Tell whether a server knows a run; warn if it does not."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        rank_zero_warn(f"MLflow has no run {run_id} at {client.tracking_uri}: a new one begins")
        return False
    return True


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
