"""Which precision "auto" is, against a table of processors; and that a training keeps its own."""

import logging
from types import SimpleNamespace

import pytest
import torch

from lightning_rcnn import precision
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.header import PRECISION_KEY, read_header
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.loading import save_detector


@pytest.fixture
def processor(monkeypatch):
    """Pretends to run on a processor with these capabilities and these limits of oneDNN."""

    def pretend(capabilities, environment=None, has_onednn=True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(capabilities, True))
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: has_onednn)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)

    return pretend


SKYLAKE = ("avx2", "avx512_f", "avx512_bw", "avx512_vl")
ICE_LAKE = (*SKYLAKE, "avx512_vnni")
ZEN4 = (*ICE_LAKE, "avx512_bf16")
SAPPHIRE_RAPIDS = (*ZEN4, "amx_tile", "amx_bf16")


@pytest.mark.parametrize(
    ("capabilities", "environment", "chosen", "reason"),
    [
        (("avx2",), {}, "32-true", "no bf16 instructions"),
        (ICE_LAKE, {}, "32-true", "no bf16 instructions"),
        (ZEN4, {}, "bf16-mixed", "avx512_bf16"),
        (SAPPHIRE_RAPIDS, {}, "bf16-mixed", "avx512_bf16"),
        (("amx_tile", "amx_bf16"), {}, "bf16-mixed", "amx_bf16"),
        (("neon", "fp16_arith"), {}, "32-true", "no bf16 instructions"),
        (("neon", "bf16", "sve"), {}, "bf16-mixed", "bf16"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, "32-true", "ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "avx2"}, "32-true", "ONEDNN_MAX_CPU_ISA=avx2"),
        (ZEN4, {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, "32-true", "DNNL_MAX_CPU_ISA=AVX512_CORE"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "bf16-mixed", "avx512_bf16"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, "bf16-mixed", "avx512_bf16"),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, "bf16-mixed", "avx512_bf16"),
        (ICE_LAKE, {"ONEDNN_MAX_CPU_ISA": "ALL"}, "32-true", "no bf16 instructions"),
    ],
)
def test_a_processor_computes_in_what_it_has_instructions_for(processor, capabilities, environment, chosen, reason):
    processor(capabilities, environment)
    choice = precision.device_precision("cpu")
    assert choice.precision == chosen
    assert reason in choice.reason


def test_without_onednn_bf16_is_emulated(processor):
    processor(ZEN4, has_onednn=False)
    assert precision.device_precision("cpu").precision == "32-true"


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_without_emulation(monkeypatch, has_bf16, chosen):
    asked = []
    cuda = SimpleNamespace(
        get_device_name=lambda: "GPU 7",
        is_bf16_supported=lambda including_emulation: asked.append(including_emulation) or has_bf16,
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    choice = precision.device_precision("cuda")
    assert (choice.precision, asked) == (chosen, [False])
    assert "GPU 7" in choice.reason


def test_other_devices_compute_in_32_bits(processor):
    processor(ZEN4)
    assert precision.device_precision("mps").precision == "32-true"
    assert precision.choose_precision("auto", "tpu") == "32-true"


@pytest.mark.parametrize(
    ("is_mps", "is_cuda", "wanted", "found"),
    [
        (False, False, "auto", "cpu"),
        (False, True, "auto", "cuda"),
        (True, False, "gpu", "mps"),
        (False, True, "cpu", "cpu"),
        (False, True, "cuda", "cuda"),
    ],
)
def test_the_device_is_that_of_the_trainer(monkeypatch, is_mps, is_cuda, wanted, found):
    monkeypatch.setattr(precision.MPSAccelerator, "is_available", lambda: is_mps)
    monkeypatch.setattr(precision.CUDAAccelerator, "is_available", lambda: is_cuda)
    assert precision.device_type(wanted) == found


@pytest.fixture
def said(caplog):
    """The lines that were printed since the last question."""
    caplog.set_level(logging.INFO, "lightning.pytorch.utilities.rank_zero")

    def lines():
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return lines


def test_the_choice_is_one_line_with_its_reason(processor, said):
    processor(ICE_LAKE)
    assert precision.choose_precision("auto", "cpu") == "32-true"
    assert said() == ["Precision 32-true: this processor has no bf16 instructions."]


def test_what_is_asked_for_rules_in_silence(processor, said):
    processor(ICE_LAKE)
    assert precision.choose_precision("bf16-mixed", "cpu", "no such file") == "bf16-mixed"
    assert precision.choose_precision(None, "cpu") == "32-true"
    assert said() == []


@pytest.mark.parametrize("began_with", ["bf16-mixed", "32-true", "16-mixed"])
def test_a_resumed_training_keeps_its_precision(processor, said, tmp_path, began_with):
    path = tmp_path / "last.ckpt"
    detector = FasterRCNN(["cat"], backbone=ResNetFPN("resnet18", channels=16), box={"head": {"width": 16}})
    save_detector(detector, path)
    assert read_header(path).precision is None
    checkpoint = torch.load(path, weights_only=True)
    torch.save(checkpoint | {PRECISION_KEY: began_with}, path)
    processor(ICE_LAKE)
    assert precision.choose_precision("auto", "cpu", path) == began_with
    (line,) = said()
    assert line.startswith(f"Precision {began_with}: the training of {path} began with it")
    assert ("a new one would take 32-true" in line) == (began_with != "32-true")
