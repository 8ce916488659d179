"""For all tests: one thread each, also in the processes that they start.

The suite runs in as many processes as there are cores; sums over one thread and over two differ in their last bits; and
a process that has used several OpenMP threads must not fork: its child would wait forever for threads that it lacks.

And no example of a property test has to be quick: on a busy machine it is not.
"""

import gc
import logging
import multiprocessing
import os
import signal

import cloudpickle
import pytest
import torch
from hypothesis import settings

from tests.restoring import restored

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a script that starts the tests in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_configure():
    """Let `caplog` see the messages of Lightning.

    Lightning keeps its messages from the root logger if that has no handler as Lightning is imported. pytest gives it
    one while it collects tests, but not while it imports the first conftest modules.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


@pytest.fixture(autouse=True)
def process_as_before():
    with restored():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage while modules are imported and tests collected: they stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def call(pickled):
    # Loaders in the process fork their workers. Those of a server of their own would outlive a process that is killed.
    multiprocessing.set_start_method("fork", force=True)
    function, args = cloudpickle.loads(pickled)
    function(*args)


@pytest.fixture(scope="session")
def fresh_process():
    """A function that makes a process which calls a function with arguments, closures among them.

    It is forked from a server that has imported everything and computed nothing. A fork of the test's own process may
    not train: as soon as autograd has threads there, torch refuses to compute gradients in its forks.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.conftest", "lightning.pytorch", "lightning_rcnn.data.datamodule"])

    def make(function, *args):
        return server.Process(target=call, args=(cloudpickle.dumps((function, args)),))

    first = make(len, ())
    first.start()  # the server's imports take seconds
    first.join()
    return make


@pytest.fixture(scope="session")
def s3_of_session():
    from tests.s3_server import S3Server  # a second that only tests of clouds wait for

    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_of_session, monkeypatch):
    """An S3 server, which the environment names."""
    for name, value in s3_of_session.environment.items():
        monkeypatch.setenv(name, value)
    yield s3_of_session
    s3_of_session.forget()
