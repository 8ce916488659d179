import hashlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from lightning_rcnn.checkpoints.sources import local_file, url_of
from lightning_rcnn.errors import InputError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("fasterrcnn_resnet50_fpn", "https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
        (
            "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
            "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        ),
        ("detectron2://a/b/model_final.pkl", "https://dl.fbaipublicfiles.com/detectron2/a/b/model_final.pkl"),
        ("https://example.org/a.pth", "https://example.org/a.pth"),
        (
            "Misc/mask_rcnn_R_50_FPN_3x_gn.yaml",
            "https://dl.fbaipublicfiles.com/detectron2/Misc/mask_rcnn_R_50_FPN_3x_gn/138602888/model_final_dc5d9e.pkl",
        ),
        (
            "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py",
            "https://dl.fbaipublicfiles.com/detectron2/new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ/42047764/"
            "model_final_bb69de.pkl",
        ),
        ("no_such_thing", None),
    ],
)
def test_what_a_source_stands_for(source, url):
    assert url_of(source) == url


def test_a_file_is_itself(tmp_path, hub):
    (tmp_path / "a.pth").write_bytes(b"x")
    assert local_file(str(tmp_path / "a.pth")) == tmp_path / "a.pth"
    with pytest.raises(InputError, match=r"^weights nothing\.pth: neither a file, nor a URL, nor a name"):
        local_file("nothing.pth")
    with pytest.raises(InputError, match="nor a name of weights; did you mean maskrcnn_resnet50_fpn_v2"):
        local_file("maskrcnn_resnet50_fpn_v3")


def test_names_of_the_zoo_that_have_no_network_here_say_what_to_take():
    with pytest.raises(InputError, match=r"panoptic_fpn_R_50_1x\.yaml: has a panoptic head.*mask_rcnn_"):
        local_file("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml")
    with pytest.raises(InputError, match=r"one stage, no R-CNN; take COCO-Detection/faster_rcnn"):
        local_file("COCO-Detection/retinanet_R_50_FPN_1x")
    with pytest.raises(InputError, match=r"did you mean COCO-Detection/faster_rcnn_R_50_FPN_3x\.yaml\?"):
        local_file("COCO-Detection/faster_rcnn_R50_FPN_3x.yaml")


def test_configurations_are_no_weights(tmp_path, hub, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("MODEL: {}")
    with pytest.raises(InputError, match=r"own\.yaml: a configuration, not weights; .* --config own\.yaml"):
        local_file("own.yaml")
    Path("COCO-Detection").mkdir()
    Path("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml").write_text("MODEL: {}")
    monkeypatch.setattr("lightning_rcnn.checkpoints.sources._DETECTRON2_FILES", "file:///nowhere/")
    with pytest.raises(InputError, match="cannot download"):
        local_file("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")


def test_without_a_network_a_name_says_where_its_file_belongs(hub, monkeypatch):
    monkeypatch.setattr("lightning_rcnn.checkpoints.sources._DETECTRON2_FILES", "file:///nowhere/")
    with pytest.raises(InputError, match=r"cannot download .*; put the file at .*model_final_b275ba\.pkl, or"):
        local_file("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")


def test_what_was_downloaded_is_kept(tmp_path, hub):
    served = tmp_path / "served.pth"
    served.write_bytes(b"weights")
    place = local_file(served.as_uri())
    assert place == hub / str(served).lstrip("/")
    served.unlink()
    assert local_file(served.as_uri()).read_bytes() == b"weights"


def test_a_download_has_to_have_its_hash(tmp_path, hub):
    content = b"weights"
    right = tmp_path / f"a-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    wrong = tmp_path / "a-00000000.pth"
    for path in (right, wrong):
        path.write_bytes(content)
    assert local_file(right.as_uri()).read_bytes() == content
    with pytest.raises(InputError, match="invalid hash value") as caught:
        local_file(wrong.as_uri())
    assert "\n" not in str(caught.value)
    assert not (hub / wrong.name).exists()


def test_files_of_one_name_are_told_apart(tmp_path, hub):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model_final.pth").write_text(folder)
    read = [local_file((tmp_path / folder / "model_final.pth").as_uri()).read_text() for folder in ("a", "b")]
    assert read == ["a", "b"]


@pytest.mark.parametrize(
    "source",
    ["https://example.org/", "https://example.org", "detectron2://../../a.pkl", "https://example.org/../../a.pth"],
)
def test_addresses_that_lead_out_of_the_folder_or_to_no_file(hub, source):
    with pytest.raises(InputError, match="is not the address of a file"):
        local_file(source)


class BreaksOff(BaseHTTPRequestHandler):
    """Promises ten bytes, and sends five."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"12345")

    def log_message(self, *_):
        pass


def test_half_a_download_is_not_kept(hub):
    with HTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match="cannot download") as caught:
            local_file(f"http://127.0.0.1:{server.server_port}/a.pkl")
        server.shutdown()
    assert "\n" not in str(caught.value)
    assert [path.name for path in hub.rglob("*") if path.is_file()] == ["a.pkl.lock"]


def test_without_a_network_the_place_of_the_file_is_said(hub, monkeypatch):
    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(InputError) as caught:
        local_file("detectron2://ImageNetPretrained/MSRA/R-50.pkl", "model.weights")
    place = Path(hub) / "detectron2/ImageNetPretrained/MSRA/R-50.pkl"
    assert str(caught.value).startswith("model.weights detectron2://ImageNetPretrained/MSRA/R-50.pkl: cannot download")
    assert f"put the file at {place}" in str(caught.value)
