"""The launcher's calls of the driver, which a stub replaces here."""

import contextlib
import ctypes
import enum
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_rcnn.ops.cuda import arguments, launcher
from lightning_rcnn.ops.cuda.compiler import roi_kernels

PROGRAM = roi_kernels(torch.float32, 4)


class Result(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1


class Driver:
    """Answer as `cuda.bindings.driver` does, and record the launches."""

    def __init__(self):
        self.loaded, self.launches, self.context = [], [], 0
        self.launch_result = Result.CUDA_SUCCESS

    def cuLibraryLoadData(self, code, *_):  # noqa: N802
        self.loaded.append(code)
        return Result.CUDA_SUCCESS, len(self.loaded)

    def cuLibraryGetKernel(self, library, name):  # noqa: N802
        return Result.CUDA_SUCCESS, 100 * library + len(name)

    def CUfunction(self, kernel):  # noqa: N802
        return kernel

    def cuCtxGetCurrent(self):  # noqa: N802
        return Result.CUDA_SUCCESS, self.context

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        return Result.CUDA_SUCCESS, 7 + device

    def cuCtxSetCurrent(self, context):  # noqa: N802
        self.context = context
        return (Result.CUDA_SUCCESS,)

    def cuLaunchKernel(self, function, *rest):  # noqa: N802
        *numbers, stream, pointers, extra = rest
        params = arguments.Params.from_address(ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))[0])
        self.launches.append((function, tuple(numbers), stream, params.num_rois, extra))
        return (self.launch_result,)


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    bindings = pytest.importorskip("cuda.bindings")
    monkeypatch.setattr(bindings, "driver", driver, raising=False)
    monkeypatch.setattr(launcher, "compiled", lambda program, capability: f"{program} {capability}".encode())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0) if device.index < 2 else (8, 0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=40 + device.index))
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    for cached in (launcher._function, launcher._library):
        cached.cache_clear()
    yield driver
    for cached in (launcher._function, launcher._library):
        cached.cache_clear()


def test_launches_on_the_current_stream_with_the_parameters(driver):
    launcher.launch("transpose", PROGRAM, (5, 3), arguments.Params(num_rois=17), torch.device("cuda", 1))
    assert driver.launches == [(109, (5, 3, 1, 256, 1, 1, 0), 41, 17, 0)]
    assert driver.context == 8


def test_a_library_is_loaded_once_for_all_gpus_of_a_kind(driver):
    for device in (0, 1, 2, 0):
        for kernel in ("transpose", "find_tile_regions"):
            launcher.launch(kernel, PROGRAM, (1, 1), arguments.Params(), torch.device("cuda", device))
    assert driver.loaded == [f"{PROGRAM} (9, 0)".encode(), f"{PROGRAM} (8, 0)".encode()]


def test_a_rejected_launch_is_named(driver):
    driver.launch_result = Result.CUDA_ERROR_INVALID_VALUE
    expected = r"launch of transpose on \(0, 1\) blocks failed with CUDA_ERROR_INVALID_VALUE"
    with pytest.raises(RuntimeError, match=expected):
        launcher.launch("transpose", PROGRAM, (0, 1), arguments.Params(), torch.device("cuda", 0))


@pytest.mark.end_to_end
def test_compiled_kernels_are_launched_through_the_real_bindings(host_kernels, tmp_path):
    import host_kernels as host

    host.build("stub_driver.cpp", tmp_path / "libcuda.so.1", roi_kernels(torch.float32, 1))
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "LIGHTNING_RCNN_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    program = Path(host.__file__).with_name("launch_through_driver.py")
    result = subprocess.run([sys.executable, program], env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "launch of transpose on (1, 65536) blocks failed with CUDA_ERROR_INVALID_VALUE" in result.stdout
