"""The registry of commands, each with a one-line summary; it imports none of them."""

from typing import NamedTuple


class Tool(NamedTuple):
    """A command that is a plain typed function."""

    summary: str
    module: str
    function: str


TRAINING = {
    "fit": "train a detector, or resume a training",
    "validate": "score a checkpoint on validation data",
    "test": "score a checkpoint on test data",
    "predict": "run a checkpoint over shards and write its detections",
    "show": "draw the batches that a training gets",
}

_COMMANDS = "lightning_rcnn.cli.commands"

TOOLS = {
    "pack auto": Tool("any of the formats below, recognized, to shards", f"{_COMMANDS}.pack_formats", "pack_auto"),
    "pack yolo": Tool("YOLO's text files to shards", f"{_COMMANDS}.pack_formats", "pack_yolo"),
    "pack labelme": Tool("LabelMe's JSON files to shards", f"{_COMMANDS}.pack_formats", "pack_labelme"),
    "pack masks": Tool("masks in image files to shards", f"{_COMMANDS}.pack_formats", "pack_masks"),
    "pack via": Tool("VIA's JSON or CSV files to shards", f"{_COMMANDS}.pack_formats", "pack_via"),
    "pack csv": Tool("CSV files with a box a line to shards", f"{_COMMANDS}.pack_formats", "pack_csv"),
    "pack voc": Tool("Pascal VOC, or XML files in its format, to shards", f"{_COMMANDS}.pack", "pack_voc"),
    "pack coco": Tool("COCO JSON and images to shards", f"{_COMMANDS}.pack", "pack_coco"),
    "pack lvis": Tool("LVIS JSON and COCO's images to shards", f"{_COMMANDS}.pack_formats", "pack_lvis"),
    "pack panoptic": Tool("COCO's panoptic JSON and PNGs to shards", f"{_COMMANDS}.pack_formats", "pack_panoptic"),
    "pack cvat": Tool("CVAT's XML for images to shards", f"{_COMMANDS}.pack_formats", "pack_cvat"),
    "pack createml": Tool("Create ML's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_createml"),
    "pack labelstudio": Tool("Label Studio's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_labelstudio"),
    "pack jsonl": Tool(
        "JSON Lines, as Hugging Face's metadata.jsonl, to shards", f"{_COMMANDS}.pack_json_lines", "pack_jsonl"
    ),
    "pack parquet": Tool(
        "Parquet with images, as Hugging Face's, to shards", f"{_COMMANDS}.pack_parquet", "pack_parquet"
    ),
    "pack ndjson": Tool("Ultralytics' NDJSON to shards", f"{_COMMANDS}.pack_formats", "pack_ndjson"),
    "pack widerface": Tool("WIDER FACE to shards", f"{_COMMANDS}.pack_formats", "pack_widerface"),
    "pack deeppcb": Tool("DeepPCB to shards", f"{_COMMANDS}.pack_formats", "pack_deeppcb"),
    "pack kitti": Tool("text files in KITTI's form to shards", f"{_COMMANDS}.pack_formats", "pack_kitti"),
    "pack visdrone": Tool("VisDrone to shards", f"{_COMMANDS}.pack_formats", "pack_visdrone"),
    "pack widerperson": Tool("WiderPerson to shards", f"{_COMMANDS}.pack_formats", "pack_widerperson"),
    "pack bbgt": Tool("Piotr's bbGt files, as of ExDark, to shards", f"{_COMMANDS}.pack_formats", "pack_bbgt"),
    "pack supervisely": Tool("Supervisely's projects to shards", f"{_COMMANDS}.pack_formats", "pack_supervisely"),
    "pack superannotate": Tool("SuperAnnotate's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_superannotate"),
    "pack darwin": Tool("V7's Darwin JSON to shards", f"{_COMMANDS}.pack_formats", "pack_darwin"),
    "pack bdd100k": Tool("BDD100K's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_bdd100k"),
    "pack datumaro": Tool("Datumaro's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_datumaro"),
    "pack vott": Tool("VoTT's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_vott"),
    "pack crowdhuman": Tool("CrowdHuman to shards", f"{_COMMANDS}.pack_formats", "pack_crowdhuman"),
    "pack sagemaker": Tool("SageMaker's manifests to shards", f"{_COMMANDS}.pack_formats", "pack_sagemaker"),
    "pack vertex": Tool("Vertex AI's JSON Lines to shards", f"{_COMMANDS}.pack_formats", "pack_vertex"),
    "pack labelbox": Tool("Labelbox's NDJSON to shards", f"{_COMMANDS}.pack_formats", "pack_labelbox"),
    "pack rle": Tool("Kaggle's CSV with run lengths to shards", f"{_COMMANDS}.pack_formats", "pack_rle"),
    "pack keras_yolo": Tool("keras-yolo3's text files to shards", f"{_COMMANDS}.pack_formats", "pack_keras_yolo"),
    "pack labelme_xml": Tool("the first LabelMe's XML to shards", f"{_COMMANDS}.pack_formats", "pack_labelme_xml"),
    "pack imglab": Tool("dlib's imglab XML to shards", f"{_COMMANDS}.pack_formats", "pack_imglab"),
    "pack mot": Tool("MOTChallenge's sequences to shards", f"{_COMMANDS}.pack_formats", "pack_mot"),
    "pack ua_detrac": Tool("UA-DETRAC's sequences to shards", f"{_COMMANDS}.pack_formats", "pack_ua_detrac"),
    "pack cub": Tool("CUB-200-2011's tables to shards", f"{_COMMANDS}.pack_formats", "pack_cub"),
    "pack oidv4": Tool("OIDv4 ToolKit's folders to shards", f"{_COMMANDS}.pack_formats", "pack_oidv4"),
    "pack nwpu": Tool("NWPU VHR-10 to shards", f"{_COMMANDS}.pack_formats", "pack_nwpu"),
    "pack deepfashion2": Tool("DeepFashion2's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_deepfashion2"),
    "pack tt100k": Tool("TT100K's JSON to shards", f"{_COMMANDS}.pack_formats", "pack_tt100k"),
    "pack lines": Tool("text files with an object a line to shards", f"{_COMMANDS}.pack_formats", "pack_lines"),
    "pack webdataset": Tool(
        "an index beside WebDataset shards of others", f"{_COMMANDS}.pack_webdataset", "pack_webdataset"
    ),
    "pack shapes": Tool("generate scenes and pack them, to try things out", f"{_COMMANDS}.pack", "pack_shapes"),
    "unpack": Tool("shards to COCO, YOLO, VOC, LabelMe, CSV or masks", f"{_COMMANDS}.unpack", "unpack"),
    "inspect": Tool("find what is doubtful in shards, and settings that fit", f"{_COMMANDS}.inspect", "inspect"),
    "propose": Tool("proposals in advance, beside the images in shards", f"{_COMMANDS}.propose", "propose"),
    "convert": Tool("weights of torchvision, detectron2 and mmdetection to ours", f"{_COMMANDS}.convert", "convert"),
    "compress": Tool("Fast R-CNN's fully connected layers at a lower rank", f"{_COMMANDS}.compress", "compress"),
    "export": Tool("a checkpoint to .pt2, ONNX or a compiled package", f"{_COMMANDS}.export", "export"),
    "detect": Tool("find objects in images and videos", f"{_COMMANDS}.detect", "detect"),
    "evaluate": Tool("score a results file as COCO does", f"{_COMMANDS}.evaluate", "evaluate"),
    "board": Tool("save a board of the runs in a W&B project", f"{_COMMANDS}.board", "board"),
    "compare": Tool("train and compare R-CNN, Fast, Faster and Mask R-CNN", f"{_COMMANDS}.compare", "compare"),
    "bench passes": Tool("time Fast R-CNN's one pass against R-CNN's many", f"{_COMMANDS}.bench_passes", "passes"),
    "bench loader": Tool("time the loader against decoding alone", f"{_COMMANDS}.bench_loader", "loader"),
    "bench pack": Tool("time packing against copying the files", f"{_COMMANDS}.bench_packing", "pack"),
    "bench scaling": Tool("compute how a training scales over nodes", f"{_COMMANDS}.bench_scaling", "scaling"),
    "bench evaluate": Tool("time scoring against pycocotools", f"{_COMMANDS}.bench_evaluate", "evaluate"),
    "bench roi-align": Tool("time RoIAlign against torchvision's", f"{_COMMANDS}.bench_roi_align", "roi_align"),
    "bench step": Tool("time a training step against torchvision's", f"{_COMMANDS}.bench_detectors", "step"),
    "bench compilation": Tool("time our step compiled", f"{_COMMANDS}.bench_compilation", "compilation"),
    "bench operators": Tool("time other operators against torchvision's", f"{_COMMANDS}.bench_operators", "operators"),
    "bench masks": Tool("measure the memory of scoring masks", f"{_COMMANDS}.bench_masks", "masks"),
    "bench infer": Tool("time detection against torchvision's", f"{_COMMANDS}.bench_detectors", "infer"),
}

GROUPS = {name.partition(" ")[0] for name in TOOLS if " " in name}


def help_text(group: str = "") -> str:
    """Return the text of `lightning-rcnn --help` or `lightning-rcnn GROUP --help`."""
    if group:
        listed = {
            name.removeprefix(f"{group} "): tool.summary for name, tool in TOOLS.items() if name.startswith(group)
        }
        return _page(f"lightning-rcnn {group}", {"": listed})
    tools = {name: tool.summary for name, tool in TOOLS.items()}
    return _page("lightning-rcnn", {"training": TRAINING, "tools": tools}) + (
        "\n\nother options:\n"
        "  --version        print the version\n"
        "  --print_shtab    with bash, zsh or tcsh: print the shell's completion script\n"
        "  --debug          with any command: show the traceback of an error"
    )


def _page(program: str, sections: dict[str, dict[str, str]]) -> str:
    lines = [f"usage: {program} COMMAND [options]", f"       {program} COMMAND --help"]
    for title, commands in sections.items():
        lines += ["", f"{title}:" if title else "commands:"]
        lines += [f"  {name:17} {summary}" for name, summary in commands.items()]
    return "\n".join(lines)
