import subprocess
import sys

import pytest

from lightning_rcnn.cli.known_classes import DETECTORS
from lightning_rcnn.cli.registry import GROUPS, TOOLS, TRAINING

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("completion")]  # one script serves all

COMPLETE = """
source script.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_lightning_rcnn lightning-rcnn "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What bash offers for the last of some words."""
    pytest.importorskip("shtab", reason="the extra `completion` is not installed")
    folder = tmp_path_factory.mktemp("completion")
    words = [sys.executable, "-m", "lightning_rcnn", "--print_shtab", "bash"]
    script = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (folder / "script.bash").write_text(script)

    def offers(*words):
        bash = ["bash", "-c", COMPLETE, "bash", "lightning-rcnn", *words]
        return set(subprocess.run(bash, capture_output=True, text=True, check=True, cwd=folder).stdout.split())

    return offers


def test_commands(complete):
    assert complete("") == {*TRAINING, *(name.partition(" ")[0] for name in TOOLS)}
    for group in GROUPS:
        assert complete(group, "") == {name.partition(" ")[2] for name in TOOLS if name.startswith(f"{group} ")}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fit --run", {"--run_dir"}),
        ("fit --config a.yaml --model.rpn.nms", {"--model.rpn.nms_iou"}),
        ("fit --model.mask.pas", {"--model.mask.paste"}),
        ("fit --rank_watch.h", {"--rank_watch.heartbeat_timeout"}),
        ("fit --trainer.callbacks EM", {"EMA", "EMAWeightAveraging"}),
        ("fit --model.backbone ResNet", {"ResNetC4", "ResNetDC5", "ResNetFPN"}),
        ("fit --model.mask.paste ", {"exact", "integer"}),
        ("show --ep", {"--epoch"}),
        ("validate --ckpt_path b", {"best"}),
        ("detect --th", {"--threshold"}),
        ("pack coco --im", {"--images"}),
    ],
)
def test_options_and_values(complete, words, offered):
    assert complete(*words.split(" ")) == offered


def test_detectors(complete):
    assert complete("fit", "--model", "") >= {detector.__name__ for detector in DETECTORS}


def test_zsh_gets_a_script_as_well(run):
    pytest.importorskip("shtab", reason="the extra `completion` is not installed")
    assert run("--print_shtab=zsh").out.startswith("#compdef lightning-rcnn")


def test_an_unknown_shell_is_refused(error_line):
    assert error_line("--print_shtab", "fish") == "--print_shtab fish: no such shell; give one of bash, zsh, tcsh"


def test_without_shtab_one_line_says_how_to_install_it(error_line, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert error_line("--print_shtab", "bash").endswith("install it with `pip install 'lightning-rcnn[completion]'`")
