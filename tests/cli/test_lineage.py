"""Data, checkpoints and reports as artifacts in the offline records of a training with a restart and its `validate`."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb

from lightning_rcnn.callbacks import wandb_logging
from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.cli import main
from lightning_rcnn.data.shards import read_index
from tests.callbacks.conftest import records_of
from tests.cli.conftest import TINY

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("lineage")]  # one training serves all


class Store(SimpleHTTPRequestHandler):
    """Has files and no folders, as object stores."""

    def list_directory(self, path):
        self.send_error(404)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(shards):
    """The same shards over HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Store, directory=shards))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def content(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


class Part:
    """Artifacts, rows and summary of one process."""

    def __init__(self, path):
        self.folder = path.parent
        records = list(records_of(path))
        self.artifacts = [one.artifact for one in records if one.WhichOneof("record_type") == "artifact"]
        self.rows, self.summary = {}, {}
        for one in records:
            if one.WhichOneof("record_type") == "history":
                self.rows[one.history.step.num] = content(one.history.item)
            elif one.WhichOneof("record_type") == "summary":
                self.summary |= content(one.summary.update)

    def of(self, kind):
        return [one for one in self.artifacts if one.type == kind]

    def checkpoint(self, alias):
        [found] = [one for one in self.of("model") if alias in one.aliases]
        return found, json.loads(found.metadata)


@contextmanager
def training_in(run_dir):
    """A process that holds the run folder as a training does."""
    (Path(run_dir) / ".lock").open().close()  # ends the lock of the training that this process ran before
    lock = "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    program = f"import fcntl, sys; file = open(sys.argv[1], 'a'); {lock}; print('held', flush=True); input()"
    command = [sys.executable, "-c", program, f"{run_dir}/.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def parts(tmp_path_factory, shards, address):
    """A training with validation data over HTTP, its restart, and `validate` with local data beside another."""
    folder, said = tmp_path_factory.mktemp("lineage"), []
    (folder / "tiny.yaml").write_text(TINY.replace("  logger: false\n", "  log_every_n_steps: 1\n"))
    fit = ["fit", "--data.train", str(shards / "train"), "--data.val", f"{address}/val", "--config", "tiny.yaml"]
    fit += ["--run_dir", "run", "--ckpt_path", "last", "--analysis", "true", "--trainer.logger.log_model", "true"]
    validate = ["validate", "--run_dir", "run", "--ckpt_path", "best", "--trainer.accelerator", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(BestCheckpoint, "_is_better", lambda self, score: self.best_score is None)  # the first is best
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("HOME", str(folder / "home"))
        patch.delenv("WANDB_DATA_DIR", raising=False)
        patch.setattr(wandb_logging, "rank_zero_info", said.append)
        for words in (
            [*fit, "--trainer.max_epochs", "1"],
            [*fit, "--trainer.max_epochs", "2"],
            [*validate, "--data.val", str(shards / "val")],
        ):
            with training_in("run") if words[0] == "validate" else nullcontext():
                assert main(words) == 0
            wandb.finish()
            wandb.teardown()
    assert "The training still runs" in said[-1]
    assert not any("still runs" in line for line in said[:-1])
    assert not (folder / "home" / ".local").exists(), "files that wait for their upload"
    return [Part(path) for path in sorted((folder / "run" / "wandb").glob("offline-run-*/*.wandb"))]


def test_the_shards_are_inputs_by_reference(parts, shards, address):
    splits = {"train": (shards / "train").as_uri(), "val": f"{address}/val"}
    for part in parts[:2]:
        assert len(part.of("dataset")) == 2
        for found, (split, place) in zip(part.of("dataset"), splits.items(), strict=True):
            index = read_index(str(shards / split))
            assert found.use_after_commit, "an input of the run"
            assert found.name == index.name.replace("/", "-")
            metadata = json.loads(found.metadata)
            assert (metadata["fingerprint"], metadata["images"]) == (index.fingerprint, len(index))
            assert index.fingerprint[:12] in found.aliases
            entries = {entry.path: entry for entry in found.manifest.contents}
            assert entries.keys() == {"fingerprint", "shard-000000.tar"}
            assert entries["shard-000000.tar"].ref == f"{place}/shard-000000.tar"
            assert entries["shard-000000.tar"].digest == index.shards[0].sha256
            assert not any(entry.local_path for entry in entries.values()), "nothing to upload"


def test_the_same_data_elsewhere_are_the_same_version(parts, shards):
    over_http, local = parts[0].of("dataset")[1], parts[2].of("dataset")[0]
    assert local.manifest.contents[1].ref.startswith("file:")
    assert (over_http.name, over_http.digest) == (local.name, local.digest)
    assert parts[0].of("dataset")[0].digest == parts[1].of("dataset")[0].digest != local.digest


def test_checkpoints_say_where_they_come_from(parts, shards):
    for part, last_step in zip(parts, (2, 5), strict=False):
        best, about_best = part.checkpoint("best")
        last, about_last = part.checkpoint("last")
        assert best.name == last.name == f"model-{best.run_id}"
        assert {"epoch-0", "step-2"} <= set(best.aliases)
        assert {f"step-{last_step}", "latest"} <= set(last.aliases)
        assert (about_best["epoch"], about_best["step"], about_last["step"]) == (0, 2, last_step)
        for about in (about_best, about_last):
            assert about["detector"] == "lightning_rcnn.detectors.faster_rcnn.FasterRCNN"
            assert about["class_names"] == [one.name for one in read_index(str(shards / "val")).categories]
            assert about["monitored"] == "val/bbox/AP"
            assert 0 < about["score_threshold"] < 1
        assert part.folder.parent in Path(best.manifest.contents[0].local_path).parents
    for about, part in ((about_best, parts[0]), (about_last, parts[1])):
        assert about["score"] == part.rows[about["step"]]["val/bbox/AP"]
    assert parts[0].checkpoint("best")[0].digest == parts[1].checkpoint("best")[0].digest, "also after a restart"
    assert not parts[2].of("model")


def test_a_restart_keeps_the_best_validation_in_the_summary(parts):
    """W&B takes the summary of the last part for that of the run."""
    best = [{key: value for key, value in part.summary.items() if "best/" in key} for part in parts[:2]]
    assert best[0] == best[1]
    expected = {"best/val/bbox/AP": parts[0].rows[2]["val/bbox/AP"], "best/epoch": 0, "best/step": 2}
    assert expected.items() <= best[1].items()


def test_the_report_is_an_artifact_and_a_panel(parts):
    for part, step in zip(parts, (2, 5, 2), strict=True):
        [report] = part.of("report")
        assert {entry.path for entry in report.manifest.contents} == {"index.html", "analysis.json"}
        assert json.loads(report.metadata) == {"split": "val"}
        page = part.folder / "files" / part.rows[step]["val/report/path"]
        assert "FasterRCNN" in page.read_text()
