import os
import signal
import subprocess
import sys
import time

import pytest

from lightning_rcnn import stop_signals

LISTEN = "from lightning_rcnn.stop_signals import listen, received; listen(); print(received())"


def test_the_first_signal_is_noted_and_nothing_else_happens():
    stop_signals.listen()
    assert stop_signals.received() == ""
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop_signals.received() == "SIGUSR1"


@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_a_signal_before_python_has_started_is_not_lost(name):
    """As the job script starts it: blocked, the signal waits until the program listens."""
    if subprocess.run(["env", f"--block-signal={name}", "true"], capture_output=True).returncode:
        pytest.skip("this `env` cannot block signals")
    shell = f'kill -{name} $$; exec "$0" -c "$1"'
    words = ["env", f"--block-signal={name}", "sh", "-c", shell, sys.executable, LISTEN]
    outcome = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (outcome.returncode, outcome.stdout) == (0, f"SIG{name}\n"), outcome.stderr


def test_where_nothing_is_trained_yet_the_first_signal_ends_what_runs_and_the_others_do_not_disturb():
    cleaned = []

    def start():
        try:
            signal.raise_signal(signal.SIGUSR1)
        except Exception:
            pytest.fail("it is no error")
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    stop_signals.stop_at_once()
    with pytest.raises(stop_signals.StoppedBeforeTraining):
        start()
    assert (cleaned, stop_signals.received()) == ([True], "SIGUSR1")


def test_a_signal_that_is_noted_already_ends_it_too():
    stop_signals.listen()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(stop_signals.StoppedBeforeTraining):
        stop_signals.stop_at_once()


def test_what_is_ignored_stays_so_when_python_has_forgotten_its_handlers():
    """As at the end of the interpreter, a program that takes its place knows nothing of Python's handlers."""
    last = "import os; os.execvp('sh', ['sh', '-c', 'kill -TERM $$; kill -USR1 $$; echo alive'])"
    words = [sys.executable, "-c", f"from lightning_rcnn import stop_signals as s; s.listen(); s.ignore(); {last}"]
    assert subprocess.run(words, capture_output=True, text=True, timeout=60).stdout == "alive\n"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system sends signals of this kind")
def test_a_process_gets_its_signal_when_its_parent_is_killed(tmp_path):
    child = (
        "import pathlib, signal, time\n"
        "from lightning_rcnn import stop_signals\n"
        "stop_signals.listen()\n"
        "stop_signals.send_at_end_of_parent(signal.SIGTERM)\n"
        "pathlib.Path('ready').touch()\n"
        "while not stop_signals.received(): time.sleep(0.01)\n"
        "pathlib.Path('saved').touch()\n"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path)
    for name in ("ready", "saved"):
        deadline = time.monotonic() + 30
        while not (tmp_path / name).exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.01)
        process.kill()
    process.wait()


def test_nothing_heavy_is_imported_before_listening():
    words = [sys.executable, "-c", f"{LISTEN}; import sys, lightning_rcnn.cli; print('torch' in sys.modules)"]
    assert subprocess.run(words, capture_output=True, text=True, timeout=60).stdout == "\nFalse\n"


def test_a_stop_from_wandb_is_noted_where_the_training_listens():
    stop_signals.listen()
    stop_signals.stop_from_wandb()
    assert stop_signals.received() == stop_signals.WANDB_STOP


def test_a_stop_from_wandb_interrupts_what_does_not_listen():
    def stop():
        stop_signals.stop_from_wandb()
        time.sleep(5)  # the interrupt comes between two instructions

    for number in stop_signals.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert stop_signals.received() == ""


@pytest.mark.parametrize(
    ("reason", "sweep", "status"),
    [
        ("SIGTERM", "abc", 0),  # early termination: the agent sends TERM, and takes other statuses for failures
        ("W&B", "abc", 0),
        ("W&B", None, 130),
        ("SIGUSR1", "abc", None),
        ("SIGTERM", None, None),
        ("", "abc", None),
    ],
)
def test_which_stops_are_for_good(reason, sweep, status, monkeypatch):
    monkeypatch.setattr(stop_signals, "_received", [reason] if reason else [])
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    if sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
    assert stop_signals.stopped_for_good() == status
