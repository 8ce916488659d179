"""Planted defects are found, each by its kind and in its image, and none of them in a clean set."""


def names_of(finding):
    return {image["file_name"] for case in finding["cases"] for image in case["images"]}


def test_every_planted_defect_is_found(planted, of_planted):
    expected = planted[1]
    found = {finding["kind"]: names_of(finding) for finding in of_planted[0]["findings"]}
    assert found == expected


def test_a_clean_set_has_no_finding(of_clean):
    assert of_clean[0]["findings"] == []
