"""The operators in `torch.library`, and the choice of implementation."""

import warnings

import pytest
import torch

from lightning_rcnn.ops import dispatch, multiscale_roi_align, roi_pool
from lightning_rcnn.ops.cuda.compiler import CompilationError

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_roi_align_passes_opcheck(pyramid, make_rois, memory_format):
    features, scales = pyramid
    leaves = [f[:, :, :6, :8].clone(memory_format=memory_format).requires_grad_() for f in features[:2]]
    rois = make_rois(4)
    rule = (2, False, 4, 224.0, "auto")
    ops = torch.ops.lightning_rcnn
    torch.library.opcheck(ops.roi_align, (leaves, rois, None, scales[:2], [3, 2], *rule))
    grad, levels = torch.randn(4, 5, 3, 2), torch.tensor([0, 1, 1, 0])
    sizes = (2, [6, 6], [8, 8], memory_format == torch.channels_last)
    torch.library.opcheck(ops.roi_align_backward, (grad, rois, levels, scales[:2], *sizes, *rule))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_roi_pool_passes_opcheck(pyramid, make_rois, memory_format):
    features, scales = pyramid
    leaves = [f[:, :, :6, :8].clone(memory_format=memory_format).requires_grad_() for f in features[:2]]
    rois = make_rois(4)
    rule = (4, 224.0, "auto")
    ops = torch.ops.lightning_rcnn
    torch.library.opcheck(ops.roi_pool, (leaves, rois, None, scales[:2], [3, 2], *rule))
    pooled, argmax = ops.roi_pool([leaf.detach() for leaf in leaves], rois, None, scales[:2], [3, 2], *rule)
    sizes = (2, [6, 6], [8, 8], memory_format == torch.channels_last)
    grad = torch.randn_like(pooled)
    torch.library.opcheck(ops.roi_pool_backward, (grad, argmax, rois, None, scales[:2], *sizes, *rule))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_have_the_memory_format_of_the_features(pyramid, make_rois, memory_format):
    features, scales = pyramid
    leaves = [f.clone(memory_format=memory_format).requires_grad_() for f in features]
    pooled = multiscale_roi_align(leaves, make_rois(4), output_size=2, scales=scales)
    gradients = [*torch.autograd.grad(pooled.sum(), leaves)]
    gradients += torch.autograd.grad(roi_pool(leaves[0], make_rois(4), output_size=2).sum(), leaves[0])
    assert all(gradient.is_contiguous(memory_format=memory_format) for gradient in gradients)


def test_requiring_the_kernels_where_they_cannot_run_is_an_error(pyramid, make_rois):
    features, scales = pyramid
    with pytest.raises(RuntimeError, match="on the device cpu"):
        multiscale_roi_align(features, make_rois(4), output_size=2, scales=scales, impl="cuda")
    with pytest.raises(RuntimeError, match="on the device cpu"):
        roi_pool(features[0], make_rois(4), output_size=2, impl="cuda")


def test_kernels_come_first_and_the_portable_implementation_can_be_required():
    assert dispatch.run("roi_align", "auto", CUDA, "", lambda: "kernels", lambda: "portable") == "kernels"
    assert dispatch.run("roi_align", "cuda", CUDA, "", lambda: "kernels", lambda: "portable") == "kernels"
    assert dispatch.run("roi_align", "portable", CUDA, "", lambda: "kernels", lambda: "portable") == "portable"


def test_a_fallback_on_a_gpu_warns_once_for_each_operator_and_reason():
    def refused():
        raise CompilationError("this GPU is too old")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert dispatch.run("roi_align", "auto", CUDA, "", refused, lambda: "portable") == "portable"
            assert dispatch.run("nms", "auto", CUDA, "", refused, lambda: "portable") == "portable"
            assert (
                dispatch.run("roi_align", "auto", CUDA, "features are float64", refused, lambda: "portable")
                == "portable"
            )
            assert (
                dispatch.run("roi_align", "auto", CPU, "features are on the CPU", refused, lambda: "portable")
                == "portable"
            )
    messages = sorted(str(warning.message) for warning in caught)
    assert [message.partition(";")[0] for message in messages] == [
        "nms: CUDA kernels cannot run: this GPU is too old",
        "roi_align: CUDA kernels cannot run: features are float64",
        "roi_align: CUDA kernels cannot run: this GPU is too old",
    ]
    with pytest.raises(RuntimeError, match="too old"):
        dispatch.run("roi_align", "cuda", CUDA, "", refused, lambda: "portable")
