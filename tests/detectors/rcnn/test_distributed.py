import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_rcnn.detectors.rcnn.box_regression import RCNNBoxRegression
from lightning_rcnn.detectors.rcnn.classification import RCNNClassification

OBJECTS = [(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)]
PROPOSALS = [(8, 8, 42, 50), (28, 5, 90, 58), (0, 0, 20, 20), (12, 9, 40, 48), (35, 8, 88, 62), (10, 25, 40, 60)]
EXAMPLES_PER_CLASS = 3


@pytest.mark.end_to_end
def test_two_ranks_have_the_solutions_of_one_process(make_rcnn, make_batch, with_proposals, tmp_path):
    """Uneven shares: the second rank's last batch is empty."""
    batches = [
        with_proposals(
            make_batch(OBJECTS, OBJECTS[:1], OBJECTS[1:], []), PROPOSALS, PROPOSALS[1:], PROPOSALS, PROPOSALS
        ),
        with_proposals(make_batch(OBJECTS[1:], OBJECTS, [], []), PROPOSALS[:4], PROPOSALS, [], []),
    ]
    options = {
        RCNNClassification: {"svm": {"solve_after": 10, "easy_margin": -100.0, "hard_margin": -100.0}},
        RCNNBoxRegression: {"ridge": {"penalty": 10.0, "examples_per_class": EXAMPLES_PER_CLASS}},
    }
    stages = {stage_class: make_rcnn(stage_class, **given).eval() for stage_class, given in options.items()}
    content = {
        "hyperparameters": {c.__name__: {**stage.hparams, "weights": None} for c, stage in stages.items()},
        "state_dict": stages[RCNNClassification].state_dict(),
        "batches": [(b.images, b.image_sizes, b.image_ids, *b.proposals, *b.targets[:3]) for b in batches],
    }
    torch.save(content, tmp_path / "given.pt")
    script = Path(__file__).with_name("rank_rcnn.py")
    files = [tmp_path / "rendezvous", tmp_path / "given.pt", tmp_path / "solved.pt"]
    ranks = [
        subprocess.Popen([sys.executable, script, str(rank), "2", *map(str, files)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for stage in stages.values():
        stage.load_state_dict(content["state_dict"])
        stage.begin_pass()
        with torch.no_grad():
            for batch in batches:
                stage.collect(batch.inputs, batch.targets)
            stage.solve()
    errors = [rank.communicate(timeout=600)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    solved = torch.load(tmp_path / "solved.pt", weights_only=True)

    classification, regression = stages.values()
    weights, ours = solved["RCNNClassification"]["svms.weight"], classification.svms.weight
    assert ours.abs().max() > 0
    # Both are within 5e-4 of the one optimum.
    torch.testing.assert_close(weights, ours, atol=0.05 * ours.abs().max().item(), rtol=0)
    weights, ours = solved["RCNNBoxRegression"]["box_regressors.weight"], regression.box_regressors.weight
    assert ours.abs().max() > 0
    torch.testing.assert_close(weights, ours, atol=1e-5 * ours.abs().max().item(), rtol=1e-3)
