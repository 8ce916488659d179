"""Planted defects are found, each by its kind and in its image, and none of them in a clean set."""

from dataclasses import replace

from lightning_rcnn.data.index import ShardIndex


def names_of(finding):
    return {image["file_name"] for case in finding["cases"] for image in case["images"]}


def test_every_planted_defect_is_found(planted, of_planted):
    expected = planted[1]
    found = {finding["kind"]: names_of(finding) for finding in of_planted[0]["findings"]}
    assert found == expected


def test_what_is_usual_in_a_federated_set_is_no_finding(planted, inspect, tmp_path):
    folder, expected = planted
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        for shard in (folder / name).glob("*.tar"):
            (tmp_path / name / shard.name).symlink_to(shard)
        index = ShardIndex.from_json((folder / name / "index.json").read_text(), name)
        replace(index, is_federated=True).write(tmp_path / name)
    findings = {finding["kind"]: finding["level"] for finding in inspect(tmp_path)[0]["findings"]}
    assert expected.keys() - findings.keys() == {"box_of_two_classes", "few_objects", "usual_class_missing"}
    assert findings["class_without_objects"] == "note"


def test_a_clean_set_has_no_finding(of_clean):
    assert of_clean[0]["findings"] == []
