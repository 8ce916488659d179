"""Compilation of the kernels for every architecture within its registers, and their cache on disk. Needs no GPU."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest
import torch
from filelock import FileLock

from lightning_rcnn.ops.cuda import compiler
from lightning_rcnn.ops.cuda.compiler import (
    ROI_KERNELS,
    CompilationError,
    Program,
    compile_source,
    compiled,
    roi_kernels,
)
from lightning_rcnn.ops.cuda.rendering import RENDER
from lightning_rcnn.ops.cuda.suppression import NMS

nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings, which torch for Linux needs, is missing")

PROGRAMS = [roi_kernels(torch.float32, 4), roi_kernels(torch.bfloat16, 8), NMS, RENDER]
"""The RoI kernels at their widest, and all others."""
ROI_PROGRAM = roi_kernels(torch.float32, 4)
REGISTERS = {
    ROI_KERNELS: {
        "roi_align_forward": 64,
        "roi_align_forward_any_grid": 80,
        "roi_align_backward": 128,
        "roi_pool_forward": 80,
        "roi_pool_backward": 128,
        "align_bitmaps": 64,
        "find_tile_regions": 48,
        "transpose": 32,
    },
    NMS.source: {"suppress": 64},
    RENDER.source: dict.fromkeys(
        ("render_bytes", "render_floats", "sum_levels", "sum_channels", "change_colors", "change_channels"), 64
    ),
}
"""Limits for blocks of 256 threads: with 64 registers a multiprocessor holds four blocks, with 80 three, 128 two."""

SPILLED_BYTES = 0 if nvrtc.nvrtcVersion()[1:] >= (13, 2) else 8
"""NVRTC 13.0 keeps one or two words of `roi_align_backward` on the stack for compute capability 9.0."""

USAGE = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def compile_for(program, architecture, *options):
    target = ["--std=c++17", f"--gpu-architecture=sm_{architecture}", *program.definitions, *options]
    return compile_source(program.source.read_bytes(), target, program.source.name)


@pytest.mark.parametrize("architecture", [75, 80, 90, 100, 120])
@pytest.mark.end_to_end
def test_kernels_fit_their_registers_and_spill_nothing(architecture):
    with ThreadPoolExecutor(2) as pool:  # NVRTC works without the interpreter's lock
        logs = pool.map(lambda program: compile_for(program, architecture, "-Xptxas=-v")[1], PROGRAMS)
        for program, log in zip(PROGRAMS, logs, strict=True):
            usage = {name: tuple(map(int, figures)) for name, *figures in USAGE.findall(log)}
            limits = REGISTERS[program.source]
            assert usage.keys() == limits.keys()
            for kernel, (stack, *spills, registers) in usage.items():
                assert stack <= SPILLED_BYTES, (program, kernel)
                assert max(spills) <= SPILLED_BYTES, (program, kernel)
                assert registers <= limits[kernel], (program, kernel)


@pytest.mark.parametrize("variant", [(torch.float16, 8), (torch.bfloat16, 1)], ids=str)
def test_other_types_and_widths_compile(variant):
    code, _ = compile_for(roi_kernels(*variant), 90)
    assert code.startswith(b"\x7fELF")


@pytest.mark.parametrize("source", REGISTERS, ids=lambda source: source.name)
def test_the_sources_need_no_header(source):
    assert "#include" not in source.read_text()


def test_a_second_call_reads_the_kernels_from_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_RCNN_CACHE", str(tmp_path / "kernels"))
    calls = []
    monkeypatch.setattr(compiler, "compile_source", lambda *arguments: calls.append(arguments) or (b"machine code", ""))
    assert compiled(ROI_PROGRAM, (9, 0)) == compiled(ROI_PROGRAM, (9, 0)) == b"machine code"
    assert len(calls) == 1
    compiled(ROI_PROGRAM, (8, 0))
    compiled(roi_kernels(torch.float32, 2), (9, 0))
    compiled(roi_kernels(torch.float16, 4), (9, 0))
    assert len(calls) == 4
    assert len(list((tmp_path / "kernels").glob("*.bin"))) == 4


def test_a_changed_source_is_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_RCNN_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "compile_source", lambda source, *_: (source, ""))
    first = compiled(ROI_PROGRAM, (9, 0))
    other = tmp_path / "other.cu"
    other.write_bytes(first + b"// changed")
    assert compiled(Program(other, ROI_PROGRAM.definitions), (9, 0)) == first + b"// changed"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("LIGHTNING_RCNN_CACHE", str(file / "kernels"))
    monkeypatch.setattr(compiler, "compile_source", lambda *_: (b"machine code", ""))
    assert compiled(ROI_PROGRAM, (9, 0)) == b"machine code"


def test_many_writers_leave_one_whole_file(tmp_path):
    path, codes = tmp_path / "kernels" / "key.bin", [bytes([i]) * 1_000_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda code: compiler._store(path, code), codes))
    assert path.read_bytes() in codes
    assert {file.name for file in path.parent.iterdir()} == {".lock", "key.bin"}


def test_a_writer_that_finds_the_cache_locked_goes_without(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "_LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"):
        compiler._store(tmp_path / "key.bin", b"machine code")
    assert not (tmp_path / "key.bin").exists()


def test_a_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "FileLock", Mock(side_effect=NotImplementedError))
    compiler._store(tmp_path / "key.bin", b"machine code")
    assert list(tmp_path.iterdir()) == []


def test_gpus_older_and_newer_than_the_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_RCNN_CACHE", str(tmp_path))
    with pytest.raises(CompilationError, match=r"compute capability 7.5 and newer; this GPU has 5.2"):
        compiled(ROI_PROGRAM, (5, 2))
    assert b".visible .entry roi_align_backward" in compiled(roi_kernels(torch.float32, 1), (99, 0))


def test_an_error_in_the_source_is_shown():
    with pytest.raises(CompilationError, match=r"broken\.cu.*undeclared_name"):
        compile_source(
            b'extern "C" __global__ void kernel() { undeclared_name(); }', ["--gpu-architecture=sm_90"], "broken.cu"
        )


@pytest.mark.end_to_end
def test_import_compiles_nothing_and_initializes_no_gpu():
    program = (
        "import sys, torch, torchvision\n"
        "def loaded(): return {name for name in sys.modules if name.startswith('cuda')}\n"
        "before = loaded()\n"
        "import lightning_rcnn.ops.nms, lightning_rcnn.ops, lightning_rcnn.ops.cuda.launcher\n"
        "assert loaded() == before\n"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("kernel", ["sum_levels", "change_colors"])
def test_no_product_of_a_color_may_be_fused_with_a_sum(kernel):
    """A product without a rounding of its own may be, and the CPU rounds it: a hue could end in another byte."""
    code, _ = compile_source(RENDER.source.read_bytes(), ["--std=c++17", "--gpu-architecture=compute_90"], "render.cu")
    (text,) = re.findall(rf"\.entry {kernel}\(.*?^}}", code.decode(), re.DOTALL | re.MULTILINE)
    products = set(re.findall(r"mul\.f32\s+(%f\d+)", text))
    assert products
    summands = re.findall(r"(?:add|sub)\.f32\s+%f\d+, (\S+), (\S+);", text)
    assert summands
    assert products.isdisjoint(value for pair in summands for value in pair)
