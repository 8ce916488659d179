"""Training through torch's compiler; `aot_eager` goes all its ways but the last, the writing of machine code."""

import copy
import warnings

import pytest
import torch
from functorch.compile import make_boxed_func
from lightning.pytorch import Trainer
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from lightning_rcnn import compilation
from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.bench.detectors import Scene
from lightning_rcnn.callbacks.compilation import Compilation
from lightning_rcnn.compilation import compile_training, compiled_layers, undo_compilation
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part


class Tiny(Backbone):
    """Two maps of three convolutions: a graph that is traced in a second."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, stride=4, padding=3)
        self.stages = nn.ModuleList(nn.Conv2d(16, 16, 3, stride=2, padding=1) for _ in range(2))
        self.strides = (8, 16)
        self.out_channels = 16

    def forward(self, images):
        first = self.stages[0](self.stem(images).relu()).relu()
        return [first, self.stages[1](first).relu()]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compilation") / "shards"
    write_shards(shapes_source(8, seed=0), folder, name="shapes", workers=1)
    return str(folder)


@pytest.fixture
def make_detector():
    def make():
        torch.manual_seed(0)
        return FasterRCNN(
            CLASS_NAMES,
            backbone=Tiny(),
            rpn={"anchors": {"sizes": [16, 32]}, "pre_nms_top_n": (50, 50), "post_nms_top_n": (30, 30)},
            box={"head": {"width": 32}, "samples_per_image": 16},
            preprocessing={"min_size": 64, "max_size": 96},
            schedule=part(ConstantSchedule, warmup_steps=0),
        )

    return make


@pytest.fixture
def fit(tmp_path, shards):
    def run(detector, ckpt_path=None, steps=2, accelerator="cpu", **options):
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_steps=steps,
            limit_val_batches=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
            gradient_clip_val=1.0,
            **options,
        )
        data = DetectionDataModule(train=shards, batch_size=2, num_workers=0, shapes=[[96, 96]])
        trainer.fit(detector, data, ckpt_path=ckpt_path)
        return trainer

    return run


@pytest.mark.end_to_end
def test_a_compiled_training_is_the_same_training(make_detector, fit, tmp_path):
    plain, compiled = make_detector(), make_detector()
    fit(plain)
    trainer = fit(compiled, callbacks=[Compilation("step", backend="aot_eager")])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    trainer.save_checkpoint(tmp_path / "compiled.ckpt")
    goes_on, goes_on_compiled = make_detector(), make_detector()
    assert fit(goes_on, tmp_path / "compiled.ckpt", steps=3).global_step == 3
    callbacks = [Compilation("step", backend="aot_eager")]
    assert fit(goes_on_compiled, tmp_path / "compiled.ckpt", steps=3, callbacks=callbacks).global_step == 3
    for name, value in goes_on_compiled.state_dict().items():
        torch.testing.assert_close(value, goes_on.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("scope", ["parts", "step"])
def test_a_captured_training_is_the_same_training(make_detector, fit, scope, accumulate):
    plain, captured = make_detector(), make_detector()
    options = {"accelerator": "cuda", "accumulate_grad_batches": accumulate, "steps": 4}
    fit(plain, **options)
    fit(captured, callbacks=[Compilation(scope, capture=True)], **options)
    assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0
    for name, value in captured.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


def test_parts_accumulate_gradients_in_mixed_precision(make_detector, fit):
    detector = make_detector()
    before = copy.deepcopy(detector.state_dict())
    trainer = fit(
        detector,
        callbacks=[Compilation("parts", backend="aot_eager")],
        precision="bf16-mixed",
        accumulate_grad_batches=2,
        steps=1,
    )
    assert trainer.global_step == 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3  # backbone, RPN, box head
    assert detector.state_dict().keys() == before.keys()
    assert not detector.rpn.head.conv.weight.equal(before["rpn.head.conv.weight"])
    assert all(module._compiled_call_impl is None for module in detector.modules())


def no_compiler(*_):
    raise RuntimeError("no compiler on this machine")


def test_what_cannot_be_compiled_runs_as_it_is_after_one_line(make_detector, fit):
    detector = make_detector()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fit(detector, callbacks=[Compilation("parts", backend=no_compiler)]).global_step == 2
    lines = [str(warning.message) for warning in caught if "cannot be compiled" in str(warning.message)]
    assert [line.split(" cannot")[0] for line in lines] == [
        f"the part {name}" for name in ("backbone", "rpn.head", "box.head")
    ]
    assert all("no compiler on this machine" in line and "\n" not in line for line in lines)


def no_compiler_for_the_backward(*_):
    raise RuntimeError("no way back")


@pytest.mark.parametrize(("scope", "lines"), [("parts", 3), ("step", 1)])
@pytest.mark.end_to_end
def test_what_has_no_compiled_backward_runs_as_it_is_too(make_detector, fit, scope, lines):
    backend = aot_autograd(
        fw_compiler=lambda graph, _: make_boxed_func(graph.forward), bw_compiler=no_compiler_for_the_backward
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fit(make_detector(), callbacks=[Compilation(scope, backend=backend)]).global_step == 2
    assert len([warning for warning in caught if "no way back" in str(warning.message)]) == lines


@pytest.mark.end_to_end
def test_shapes_beyond_the_limit_run_as_they_are_after_one_line(make_detector, monkeypatch):
    monkeypatch.setattr(compilation, "_SHAPES", 2)
    detector, plain = make_detector().train(), make_detector().train()
    with torch._dynamo.config.patch(recompile_limit=2), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compile_training(detector, "step", capture=False, backend="aot_eager")
        for num_objects in (1, 2, 3, 4, 1):
            scene = Scene.random(1, 64, 96, num_objects, len(CLASS_NAMES))
            batch = scene.inputs(), scene.targets(with_masks=False)
            losses, expected = detector.losses(*batch), plain.losses(*batch)
            torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    lines = [str(warning.message) for warning in caught if "shapes" in str(warning.message)]
    assert lines == ["the training step is compiled for 2 shapes and runs uncompiled for others: use fewer"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_capturing_without_a_gpu_says_that_it_does_nothing(make_detector):
    with pytest.warns(UserWarning, match="nothing is captured.*cpu"):
        compile_training(make_detector(), "parts", capture=True)


@pytest.mark.parametrize("scope", ["parts", "step"])
def test_copies_and_the_detector_afterwards_run_as_written(make_detector, scope):
    detector = make_detector()
    compile_training(detector, scope, capture=False, backend=no_compiler)
    compiled = [detector.backbone._compiled_call_impl, vars(detector).get("loss_sums")]
    assert [function is not None for function in compiled] == [scope == "parts", scope == "step"]
    copied = copy.deepcopy(detector)
    assert copied.loss_sums.__self__ is copied
    assert all(layer._compiled_call_impl is None for _, layer, _ in compiled_layers(copied))
    undo_compilation(detector)
    assert "loss_sums" not in vars(detector)
    assert detector.backbone._compiled_call_impl is None


def test_capturing_needs_compiling():
    with pytest.raises(InputError, match=r"compilation.scope"):
        Compilation(capture=True)
