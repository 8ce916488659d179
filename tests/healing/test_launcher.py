"""Launchers on one machine whose ranks and nodes are lost; small functions stand in the place of the training."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from multiprocessing import get_context

import lightning.pytorch  # noqa: F401  # once, and not in each forked process
import psutil
import pytest
import torch

from lightning_rcnn import stop_signals
from lightning_rcnn.checkpoints.in_memory import FOLDER_VARIABLE, NAME
from lightning_rcnn.cli import forking
from lightning_rcnn.files import atomic_save
from lightning_rcnn.healing import command, leader, memory
from lightning_rcnn.healing import launcher as launcher_module
from lightning_rcnn.healing.launcher import Launcher
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.network import Address, Network
from lightning_rcnn.healing.prepared import FAILED
from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED


def told(text):
    return [line for line in text.splitlines() if line.startswith("lightning-rcnn: ")]


@pytest.fixture
def heal(monkeypatch, tmp_path, capfd):
    """Runs `rank(number, generation)` in the place of each rank; the status, and what was said."""
    monkeypatch.setattr(leader, "LAST_WORDS", 1.0)

    def run(rank, number=3):
        def train(words):
            assert words == ["fit", "--run_dir", "r"]
            forking.become_a_rank(2)
            own = int(os.environ["RANK"])
            assert (os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"]) == (str(own), str(number))
            generations = tmp_path / f"generations{own}"
            generation = len(generations.read_text()) if generations.exists() else 0
            generations.write_text("x" * (generation + 1))
            status = rank(own, generation)
            sys.stderr.flush()
            os._exit(status)

        monkeypatch.setattr("lightning_rcnn.cli.main", train)
        return launch(tmp_path, number), told(capfd.readouterr().err)

    return run


ALONE = [Address("127.0.0.1", 0)]


def launch(folder, ranks, addresses=ALONE, own=0, spares=0):
    async def run():
        whole = Layout(len(addresses) - spares, ranks, 0)
        return await Launcher(addresses, own, "token", whole, ["fit", "--run_dir", "r"], folder, 5).run()

    return asyncio.run(run())


def save(folder, step):
    atomic_save({"epoch": 0, "global_step": step, "state_dict": {"weight": torch.zeros(1)}}, folder / NAME)


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_is_said_where_nothing_happens(heal):
    assert heal(lambda rank, generation: 0) == (0, [])


@pytest.mark.end_to_end
@pytest.mark.parametrize("victim", [0, 2])
def test_all_ranks_start_again_from_memory_when_one_is_killed(heal, tmp_path, victim):
    def rank(number, generation):
        if generation == 0:
            if number == victim:
                time.sleep(0.2)
                save(tmp_path, 7)
                killed()
            time.sleep(60)
        return 0 if memory.saved_step(tmp_path) == 7 else 3

    start = time.monotonic()
    status, (line,) = heal(rank)
    assert status == 0
    assert line == (
        f"lightning-rcnn: rank {victim} was killed by SIGKILL; 3 ranks with 2 images each start again after step 7"
    )
    assert time.monotonic() - start < 10


def test_a_failure_is_healed_and_wrong_input_is_not(heal):
    status, lines = heal(lambda rank, generation: FAILED if (rank, generation) == (1, 0) else 0)
    assert (status, len(lines)) == (0, 1)
    assert "rank 1 failed with status 70; 3 ranks" in lines[0]


@pytest.mark.end_to_end
def test_wrong_input_ends_all_ranks(heal):
    assert heal(lambda rank, generation: 1 if rank == 1 else time.sleep(60)) == (1, [])


@pytest.mark.end_to_end
def test_ranks_that_are_lost_before_a_step_is_done_are_given_up(heal, tmp_path):
    status, lines = heal(lambda rank, generation: killed() if rank == 0 else time.sleep(60))
    assert status == 1
    assert len(lines) == 4
    assert lines[-1].startswith(
        "lightning-rcnn: error: rank 0 was killed by SIGKILL, 4 times after step -1: look at it"
    )


@pytest.mark.end_to_end
def test_a_step_between_two_losses_counts(heal, tmp_path):
    def starts(number):
        path = tmp_path / f"generations{number}"
        return len(path.read_text()) if path.exists() else 0

    def rank(number, generation):
        if number == 0 and generation < 6:
            until(lambda: min(map(starts, range(3))) > generation)  # the others count, too, before they are killed
            save(tmp_path, generation)
            killed()
        return 0 if generation == 6 else time.sleep(60)

    status, lines = heal(rank)
    assert (status, len(lines)) == (0, 6)


@pytest.mark.end_to_end
def test_a_signal_reaches_all_ranks_whose_status_it_ends_with(heal, tmp_path):
    def rank(number, generation):
        stop_signals.listen()
        (tmp_path / f"listens{number}").touch()
        for _ in range(400):
            if stop_signals.received() == "SIGTERM":
                return EXIT_STATUS if number == 0 else 0
            time.sleep(0.05)
        return 3

    def stop():
        while len(list(tmp_path.glob("listens*"))) < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert heal(rank) == (EXIT_STATUS, [])


@pytest.mark.end_to_end
def test_a_rank_that_hangs_after_an_error_of_another_is_killed(heal, tmp_path):
    def rank(number, generation):
        (tmp_path / f"pid{number}").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(0.5)
        return 1 if number == 1 else time.sleep(60)

    assert heal(rank, number=2) == (1, [])
    assert not psutil.pid_exists(int((tmp_path / "pid0").read_text()))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, EXIT_STATUS), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_while_all_is_prepared_ends_the_launcher(monkeypatch, tmp_path, number, status):
    """TERM asks for another start; Ctrl-C finds no rank that could end by it."""

    def train(words):
        os.kill(os.getppid(), number)
        time.sleep(60)

    monkeypatch.setattr("lightning_rcnn.cli.main", train)
    assert launch(tmp_path, 2) == status


def test_what_is_wrong_before_there_are_ranks_ends_the_launcher(monkeypatch, tmp_path):
    monkeypatch.setattr("lightning_rcnn.cli.main", lambda words: 1)
    assert launch(tmp_path, 2) == 1


@pytest.mark.end_to_end
def test_no_rank_outlives_its_launcher(monkeypatch, tmp_path):
    def train(words):
        forking.become_a_rank(2)
        stop_signals.listen()
        (tmp_path / f"rank{os.environ['RANK']}").write_text(str(os.getpid()))
        while not stop_signals.received():
            time.sleep(0.02)
        (tmp_path / f"saved{os.environ['RANK']}").touch()
        os._exit(0)

    monkeypatch.setattr("lightning_rcnn.cli.main", train)
    process = get_context("fork").Process(target=launch, args=(tmp_path, 2))
    process.start()
    until(lambda: len(list(tmp_path.glob("rank*"))) == 2)
    process.kill()
    process.join()
    until(lambda: len(list(tmp_path.glob("saved*"))) == 2)


def test_a_signal_before_there_are_ranks_asks_for_another_start(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    monkeypatch.setattr(command, "_import_for_all_processes", lambda: None)
    monkeypatch.setattr(command, "Launcher", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        command.main(["--ranks", "2", "fit", "--config", "a.yaml"])
    assert stop.value.code == EXIT_STATUS
    assert list(tmp_path.iterdir()) == []


def test_launchers_train_together_only_with_the_same_words_and_files(tmp_path):
    base, config = tmp_path / "base.yaml", tmp_path / "run.yaml"
    base.write_text("trainer: {max_epochs: 3}")
    config.write_text("base: base.yaml")
    options = ["--config", str(config)]
    token = command.token_of(["fit", *options], options)
    assert command.token_of(["fit", *options], options) == token
    assert command.token_of(["fit", *options, "--run_dir", "b"], options) != token
    base.write_text("trainer: {max_epochs: 4}")
    assert command.token_of(["fit", *options], options) != token
    command.token_of(["fit", *options], ["--config", "missing.yaml"])  # the command itself says what is wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "a:1,b"], "'b' is not HOST:PORT"),
        (["--nodes", "a:1,b:65536"], "'b:65536' is not HOST:PORT, with a port from 1 to 65535"),
        (["--nodes", "a:1,b:1", "--node", "2"], "--node 2: --nodes has 2"),
        (["--nodes", "a:1,b:1", "--node", "0", "--spares", "2"], "at least one has to train"),
    ],
)
def test_wrong_nodes_are_refused(words, said, capsys):
    assert command.main(["--ranks", "2", *words, "fit"]) == 1
    assert said in capsys.readouterr().err


@pytest.fixture
def nodes(monkeypatch, tmp_path, capfd):
    """Starts launchers of three nodes, whose ranks save a step each quarter of a second until step 60."""
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for each in (first, second, third):
            each.bind(("127.0.0.1", 0))
        addresses = [Address(*each.getsockname()) for each in (first, second, third)]
    started = []

    def train(words):
        if "--data.batch_size" in words and f"memory{nodes.broken}-" in os.environ[FOLDER_VARIABLE]:
            return 1
        forking.become_a_rank(2)
        folder, rank, world = os.environ[FOLDER_VARIABLE], int(os.environ["RANK"]), os.environ["WORLD_SIZE"]
        images = words[words.index("--data.batch_size") + 1] if "--data.batch_size" in words else "2"
        place = tmp_path / folder
        for step in range(max(memory.saved_step(place), 0) + 1, 61):
            time.sleep(0.25)
            if (tmp_path / "enough").exists():
                break
            if rank == 0:
                with (tmp_path / "steps").open("a") as steps:
                    steps.write(f"{step} {world} {images}\n")
                save(place, step)
        os._exit(0)

    monkeypatch.setattr("lightning_rcnn.cli.main", train)

    class Nodes:
        said = ""
        broken = None  # node that can train with all others only

        def start(self, own, spares=0):
            folder = tmp_path / f"memory{own}-{len(started)}"
            folder.mkdir()
            process = get_context("fork").Process(target=self._run, args=(folder, own, spares))
            process.start()
            started.append(process)
            return process

        def _run(self, folder, own, spares):
            os._exit(launch(folder, 1, addresses, own, spares))

        def kill(self, process):
            """With all its ranks, as if the machine had gone."""
            launcher = psutil.Process(process.pid)
            for each in [launcher, *launcher.children(recursive=True)]:
                each.kill()
            process.join()

        def steps(self):
            path = tmp_path / "steps"
            return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []

        def end(self):
            (tmp_path / "enough").touch()
            for process in started:
                process.join(20)
            return [process.exitcode for process in started]

        def told(self):
            self.said += capfd.readouterr().err
            return told(self.said)

    nodes = Nodes()
    yield nodes
    for process in started:
        if process.is_alive():
            nodes.kill(process)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.end_to_end
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_the_other_nodes_continue_and_the_lost_one_comes_back(nodes, victim):
    processes = [nodes.start(own) for own in range(3)]
    until(lambda: len(nodes.steps()) > 3)
    assert {row[1:] for row in nodes.steps()} == {(3, 2)}
    reached = nodes.steps()[-1][0]
    nodes.kill(processes[victim])
    until(lambda: nodes.steps()[-1][1:] == (2, 3), 10)  # two ranks with three images each
    first = next(row[0] for row in nodes.steps() if row[1] == 2)
    # Rank 0's checkpoints lie in the memory of the lost node; its neighbour has copies, at most a moment old.
    assert reached - 3 <= first <= reached + 2
    nodes.start(victim)
    until(lambda: nodes.steps()[-1][1:] == (3, 2))
    assert nodes.end() == [0 if own != victim else -signal.SIGKILL for own in range(3)] + [0]
    gone, back = [line for line in nodes.told() if "start again" in line]  # a copy may have been cut off, too
    assert f"node {victim} is gone; 2 x 1 ranks with 3 images each start again after step {first - 1}" in gone
    assert "3 of 3 nodes are here; 3 x 1 ranks with 2 images each start again after step" in back


@pytest.mark.end_to_end
@pytest.mark.parametrize("victim", [0, 1])
def test_a_spare_node_takes_the_place_of_a_lost_one(nodes, victim):
    processes = [nodes.start(own, spares=1) for own in range(2)]
    until(lambda: len(nodes.steps()) > 3)
    processes.append(nodes.start(2, spares=1))
    until(lambda: "lightning-rcnn: node 2 is here" in nodes.told())
    nodes.kill(processes[victim])
    before = len(nodes.steps())
    until(lambda: len(nodes.steps()) > before + 3, 10)
    assert {row[1:] for row in nodes.steps()} == {(2, 2)}
    assert nodes.end() == [-signal.SIGKILL if own == victim else 0 for own in range(3)]


@pytest.mark.end_to_end
def test_a_node_that_cannot_start_its_ranks_is_left_out(nodes):
    nodes.broken = 2
    processes = [nodes.start(own) for own in range(3)]
    until(lambda: len(nodes.steps()) > 3)
    nodes.kill(processes[0])
    until(lambda: nodes.steps()[-1][1:] == (1, 6), 20)
    until(lambda: len(nodes.steps()) > 8 + len([row for row in nodes.steps() if row[1] == 3]))
    assert nodes.end() == [-signal.SIGKILL, 0, 0]
    assert [row for row in nodes.steps() if row[1] == 2] == []
    told = nodes.told()
    assert sum("node 2 cannot start its ranks: the command ended with status 1" in line for line in told) == 2
    assert sum("node 2 failed to start its ranks 2 times: it is left out" in line for line in told) == 1


@pytest.mark.end_to_end
def test_two_nodes_after_each_other_leave_one(nodes):
    processes = [nodes.start(own) for own in range(3)]
    until(lambda: len(nodes.steps()) > 3)
    nodes.kill(processes[0])
    until(lambda: nodes.steps()[-1][1:] == (2, 3), 10)
    until(lambda: len(nodes.steps()) > 3 + len([row for row in nodes.steps() if row[1] == 3]))
    nodes.kill(processes[1])
    until(lambda: nodes.steps()[-1][1:] == (1, 6), 10)
    assert nodes.end() == [-signal.SIGKILL, -signal.SIGKILL, 0]


@pytest.mark.end_to_end
def test_a_signal_to_one_node_reaches_its_ranks(nodes):
    """The others hear of it from these, through the training."""
    processes = [nodes.start(own) for own in range(3)]
    until(lambda: len(nodes.steps()) > 1)
    os.kill(processes[2].pid, signal.SIGTERM)
    time.sleep(0.5)
    assert all(process.is_alive() for process in processes)  # these ranks do not listen
    assert nodes.end() == [0, 0, 0]


@pytest.mark.end_to_end
def test_of_two_leaders_one_follows_the_other(nodes, monkeypatch):
    """Node 0 took itself for the leader while node 1 already trained with node 2."""
    seek = Network.seek

    async def seek_nobody_at_first(network, wanted, until):
        if network._own == 0 and not network._has_gathered:
            network._has_gathered = True
            return 0
        return await seek(network, wanted, until)

    monkeypatch.setattr(launcher_module, "GATHERING", 1.0)
    monkeypatch.setattr(launcher_module, "JOINING", 1.0)
    for own in (1, 2):
        nodes.start(own)
    until(lambda: len(nodes.steps()) > 3)
    assert nodes.steps()[-1][1:] == (2, 3)
    monkeypatch.setattr(Network, "seek", seek_nobody_at_first)
    nodes.start(0)
    until(lambda: nodes.steps()[-1][1:] == (3, 2))
    assert nodes.end() == [0, 0, 0]
    assert any("node 1 leads, too: this one" in line for line in nodes.told())
