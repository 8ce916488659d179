import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "host"))


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory):
    """Compile the kernels as host C++, with the launcher's interface."""
    import host_kernels

    if host_kernels.compiler() is None:
        pytest.skip("no C++ compiler to build the kernels as host code")
    return host_kernels.HostKernels(tmp_path_factory.mktemp("host_kernels"))


@pytest.fixture
def on_host(host_kernels, monkeypatch):
    """Let `operations` launch kernels in host memory."""
    from lightning_rcnn.ops.cuda import launcher

    monkeypatch.setattr(launcher, "launch", host_kernels.launch)
    monkeypatch.setattr(host_kernels, "reversed", False)
    return host_kernels
