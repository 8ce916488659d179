import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN

SCOPES = [None, pytest.param("parts", marks=pytest.mark.slow), pytest.param("step", marks=pytest.mark.slow)]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.end_to_end
def test_two_ranks_have_the_gradients_of_one_process(make_mask_rcnn, make_batch, with_masks, tmp_path, scope):
    """With uneven samples: rank 1's images have no or one object, so its counts differ from rank 0's."""
    detector = make_mask_rcnn(
        backbone=ResNetFPN("resnet18", norm="group_norm", channels=32),
        rpn={"cross_boundary_anchors": "ignore", "samples_per_image": 1000},
    )
    objects = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2), (2, 2, 30, 30, 3)]
    batch = with_masks(make_batch(objects, objects[:2], [], [(40, 20, 70, 60, 3), (0, 0, 96, 40, 1, "crowd")]))
    sum(detector(batch).values()).backward()
    torch.save(
        {
            "hyperparameters": {key: value for key, value in detector.hparams.items()},
            "state_dict": detector.state_dict(),
            "images": batch.images,
            "image_sizes": batch.image_sizes,
            "image_ids": batch.image_ids,
            "targets": tuple(batch.targets[:3]),
            "masks": tuple(batch.targets.masks),
            "scope": scope,
        },
        tmp_path / "whole.pt",
    )
    script = Path(__file__).with_name("rank_gradients.py")
    files = [tmp_path / "rendezvous", tmp_path / "whole.pt", tmp_path / "gradients.pt"]
    ranks = [
        subprocess.Popen([sys.executable, script, str(rank), "2", *map(str, files)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=1200 if scope else 120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    gradients = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for name, parameter in detector.named_parameters():
        scale = parameter.grad.abs().max().clamp(min=1e-6)
        torch.testing.assert_close(gradients[name] / scale, parameter.grad / scale, atol=2e-4, rtol=0, msg=name)
