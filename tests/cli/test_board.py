"""What a training with a restart, and its `validate`, leave in the offline records of W&B."""

import json
import math
import re
from pathlib import Path

import pytest
import wandb

from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.cli import main
from lightning_rcnn.cli.run_paths import choose_run_dir
from lightning_rcnn.data.shards import read_index
from tests.callbacks.conftest import records_of
from tests.cli.conftest import TINY

pytestmark = pytest.mark.xdist_group("board")  # one training serves all


def end_run():
    wandb.finish()
    wandb.teardown()


def content(item):
    return {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in item}


class Part:
    """One process's record of a run."""

    def __init__(self, path: Path) -> None:
        self.rows, self.summary, self.config, self.run, self.metrics = [], {}, {}, None, {}
        for record in records_of(path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.rows.append(content(record.history.item) | {"_row": record.history.step.num})
            elif kind == "summary":
                self.summary |= content(record.summary.update)
            elif kind == "config":
                self.config |= content(record.config.update)
            elif kind == "run":
                self.run = record.run
                self.config |= content(record.run.config.update)
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric


@pytest.fixture(scope="module")
def board(tmp_path_factory, shards):
    """The folder of a run of two epochs, restarted for a third, and validated; and what was printed last."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "tiny.yaml").write_text(TINY.replace("  logger: false\n", "  log_every_n_steps: 1\n"))
    data = ["--data.train", str(shards / "train"), "--data.val", str(shards / "val")]
    fit = ["fit", "--config", "tiny.yaml", *data, "--run_dir", "run", "--ckpt_path", "last", "--trainer.max_epochs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("SLURM_ARRAY_JOB_ID", "77")
        for words in (
            [*fit, "2"],
            [*fit, "3"],
            ["validate", "--run_dir", "run", "--ckpt_path", "last", "--trainer.accelerator", "cpu", *data[2:]],
        ):
            assert main(words) == 0
            end_run()
    return folder / "run"


@pytest.fixture(scope="module")
def parts(board):
    return [Part(path) for path in sorted(board.glob("wandb/offline-run-*/*.wandb"))]


@pytest.mark.end_to_end
def test_all_processes_write_into_one_run(board, parts):
    assert len(parts) == 3
    run_id = (board / "wandb_run_id").read_text().strip()
    assert {part.run.run_id for part in parts} == {run_id}
    assert {(part.run.display_name, part.run.project) for part in parts} == {("run", "lightning-rcnn")}
    assert {part.run.run_group for part in parts} == {"array-77"}


@pytest.mark.end_to_end
def test_one_row_a_step_at_the_step_of_the_training(parts):
    """Six images in batches of two: three steps an epoch."""
    steps = [[row["trainer/global_step"] for row in part.rows] for part in parts]
    assert steps == [[0, 1, 2, 3, 4, 5], [6, 7, 8], [8]]
    for part in parts:
        assert all(row["_row"] == row["trainer/global_step"] for row in part.rows), "so that parts do not collide"
        assert all("epoch" in row for row in part.rows)
    with_step = [row for part in parts for row in part.rows if "train/loss" in row]
    for key in ("train/learning_rate", "train/gradient_norm", "throughput/images_per_second", "train/loss_box"):
        assert all(key in row for row in with_step), key
    assert all(row["train/gradient_norm"] > 0 for row in with_step)


@pytest.mark.end_to_end
def test_validations_are_in_their_rows_and_nothing_is_nan(parts):
    validated = {row["trainer/global_step"]: row for part in parts[:2] for row in part.rows if "val/bbox/AP" in row}
    assert sorted(validated) == [2, 5, 8]
    again = parts[2].rows[0]
    for name in ("val/bbox/AP", "val/loss", "val/loss_box"):
        assert again[name] == pytest.approx(validated[8][name], rel=1e-5), "of the same checkpoint"
    assert again["epoch"] == validated[8]["epoch"] == 2
    assert again["val/error_table/nrows"] == 3, "validate analyzes, and logs it in the same row"
    assert again["val/errors/missed"] >= 0
    numbers = [value for part in parts for row in part.rows for value in row.values() if isinstance(value, float)]
    assert all(map(math.isfinite, numbers))
    images = [row["val/images/filenames"] for part in parts for row in part.rows if "val/bbox/AP" in row]
    assert len(images) == 4
    assert images == 4 * images[:1], "stored once, also over a restart"


@pytest.mark.end_to_end
def test_the_summary_has_the_best_validation(board, parts):
    validated = {row["trainer/global_step"]: row["val/bbox/AP"] for row in parts[0].rows if "val/bbox/AP" in row}
    best = max(validated, key=validated.get)
    assert parts[0].summary["best/val/bbox/AP"] == validated[best]
    assert parts[0].summary["best/step"] == best
    assert parts[0].summary["best/epoch"] == best // 3
    bests = [{key: value for key, value in part.summary.items() if "best/" in key} for part in parts]
    assert bests[2] == bests[1], "uploaded last, and its summary replaces that of the others"
    assert parts[0].metrics["val/bbox/AP"].summary.max
    assert parts[0].metrics["val/loss"].summary.min


@pytest.mark.end_to_end
def test_each_setting_is_there_once_under_its_name(parts, shards):
    config = parts[0].config
    assert config["model"]["init_args"]["box"]["init_args"]["head"]["init_args"]["width"] == 16
    assert config["data"]["batch_size"] == 2
    assert not {"backbone", "rpn", "box", "optimizer"} & config.keys(), "the model's, beside `model`"
    facts = config["run"]
    assert (facts["world_size"], facts["global_batch_size"]) == (1, 2)
    index = read_index(str(shards / "val"))
    assert facts["data"]["val"] == {
        "name": index.name,
        "images": 3,
        "objects": sum(map(sum, (shard.objects for shard in index.shards))),
        "fingerprint": index.fingerprint,
    }
    assert not parts[2].config.get("data"), "a validation leaves the settings of the training alone"


@pytest.mark.end_to_end
def test_one_command_uploads_all_parts(board, parts, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = DetectionWandbLogger(save_dir=board)
    logger.log_metrics({"train/loss": 1.0}, step=0)
    command = logger.sync_command()
    end_run()
    pattern = re.fullmatch(rf"wandb sync --id {parts[0].run.run_id} (\S+)", command)[1]
    found = sorted(Path(pattern).parent.glob(Path(pattern).name))
    assert found == sorted(board.resolve().glob("wandb/offline-run-*"))


@pytest.mark.end_to_end
def test_a_run_of_an_agent_is_the_agents(tmp_path, shards, monkeypatch, capfd):
    """In a folder of its own, under the id of the agent, with the values of the sweep, and without W&B's warnings."""
    parameters = tmp_path / "config-abc.yaml"
    parameters.write_text("wandb_version: 1\nmodel.optimizer.lr:\n  value: 0.0002\n")
    agents = {"SWEEP_ID": "sweep", "RUN_ID": "abc", "SWEEP_PARAM_PATH": str(parameters), "DIR": str(tmp_path)}
    for name, value in {**agents, "PROJECT": "ours", "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY.replace("  logger: false\n", "  max_steps: 1\n"))
    monkeypatch.delenv("WANDB_SILENT", raising=False)
    end_run()  # so that W&B reads the variables anew
    data = f"--data.train={shards / 'train'}"
    assert main(["fit", "--config=tiny.yaml", data, "--model.optimizer.lr=0.0002"]) == 0
    end_run()
    assert "Ignoring" not in capfd.readouterr().err

    (path,) = (tmp_path / "runs" / "tiny-abc").glob("wandb/offline-run-*/*.wandb")
    part = Part(path)
    assert (part.run.run_id, part.run.sweep_id, part.run.project) == ("abc", "sweep", "ours")
    assert part.config["model.optimizer.lr"] == 0.0002
    assert part.config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.0002
    assert (tmp_path / "runs" / "tiny-abc" / "wandb_run_id").read_text().strip() == "abc"


def test_a_given_folder_wins_over_that_of_an_agent(monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    assert choose_run_dir("mine", [Path("configs/tiny.yaml")], None, "fit") == Path("mine")
