"""Text and XML of older tools, in the form in which they write it, packed by recognition."""

import pytest

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def points(*corners):
    return "".join(f"<pt><x>{x:.2f}</x><y>{y:.2f}</y></pt>" for x, y in corners)


def labelme(*objects):
    size = "<imagesize><nrows>48</nrows><ncols>64</ncols></imagesize>"
    return f"<annotation><filename>a.jpg</filename><folder>default</folder>{size}{''.join(objects)}</annotation>"


BOX = points((5, 6), (15, 6), (15, 26), (5, 26))
POLYGON = points((10, 10), (30, 10), (30, 40), (10, 40))
CAT_XML = f"<object><name>cat</name><deleted>0</deleted><type>bounding_box</type><polygon>{BOX}</polygon></object>"
DOG_XML = f"<object><name>dog</name><polygon>{POLYGON}<username/></polygon></object>"


def test_labelme_xml_as_cvat_exports_it(write_files, pack_one):
    """It begins like Pascal VOC's files, whose boxes it does not have. What its users deleted is still in it."""
    deleted = CAT_XML.replace("<deleted>0", "<deleted>1")
    root = write_files({"default/a.xml": labelme(CAT_XML, DOG_XML, deleted, "<object/>")}, ["default/a.jpg"])
    packed = pack_one(root)
    assert packed.objects == {"default/a.jpg": [CAT, DOG]}
    assert packed.has_masks
    assert packed.report == {"no_class": 1, "malformed_object": 1, "missing_mask": 1}


def test_a_rotated_box_of_cvat_in_labelme_xml(write_files, pack_one):
    turned = CAT_XML.replace("</object>", "<attributes>occluded=False, rotation=90.0</attributes></object>")
    packed = pack_one(write_files({"a.xml": labelme(turned)}, ["a.jpg"]))
    assert packed.objects == {"a.jpg": [("cat", 0, 11, 20, 21)]}
    assert packed.report == {"rotated_box": 1}


def test_labelme_xml_in_folders_with_images_of_equal_names(write_files, pack_one):
    """`Annotations` and `Images` have the same folders; names are escaped as in any XML."""
    texts = {f"Annotations/{folder}/a.xml": labelme(xml) for folder, xml in (("street", CAT_XML), ("park", DOG_XML))}
    texts["Annotations/park/b.xml"] = labelme(CAT_XML).replace("a.jpg", "b&amp;c.jpg")
    packed = pack_one(write_files(texts, ["Images/street/a.jpg", "Images/park/a.jpg", "Images/park/b&c.jpg"]))
    assert packed.objects == {"Images/street/a.jpg": [CAT], "Images/park/a.jpg": [DOG], "Images/park/b&c.jpg": [CAT]}


def test_malformed_labelme_xml_costs_its_image(write_files, pack_one):
    texts = {"a.xml": labelme(CAT_XML), "b.xml": labelme(CAT_XML).replace("a.jpg", "b.jpg")[:-9]}
    packed = pack_one(write_files(texts, ["a.jpg", "b.jpg"]))
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {"malformed_labels": 1}


def test_imglab(write_files, pack):
    box = "<box top='{}' left='{}' width='{}' height='{}'{}>{}</box>"
    cat = box.format(6, 5, 10, 20, "", "<label>cat</label>")
    dog = box.format(10, 10, 20, 30, " ignore='1'", "<label>dog</label>")
    image = f"<image file='imgs/a.jpg'>{cat}{dog}{box.format(1, 'x', 1, 1, '', '')}</image>"
    text = f"<?xml version='1.0'?><dataset><name>x</name><images>{image}</images></dataset>"
    packed = pack(write_files({"training.xml": text}, ["imgs/a.jpg"])).splits["train"]
    assert packed.objects == {"imgs/a.jpg": [CAT, DOG]}
    assert [each["iscrowd"] for each in packed.records["imgs/a.jpg"]["annotations"]] == [0, 1]
    assert packed.report == {"crowd": 1, "malformed_object": 1}


def test_keras_yolo3_as_roboflow_exports_it(write_files, pack):
    """A list of classes beside each file; an image without objects is alone in its line."""
    text = "a b.jpg 5,6,15,26,0 10,10,30,40,1 1,1,9,9,2\nc.jpg\n"
    texts = {f"{split}/_annotations.txt": text for split in ("train", "valid")}
    texts |= {f"{split}/_classes.txt": "cat\ndog\n" for split in ("train", "valid")}
    images = [f"{split}/{name}.jpg" for split in ("train", "valid") for name in ("a b", "c")]
    packed = pack(write_files(texts, images))
    assert packed.splits["val"].objects == {"valid/a b.jpg": [CAT, DOG], "valid/c.jpg": []}
    assert packed.splits["val"].classes == ["cat", "dog"]
    assert packed.splits["val"].report["unknown_class"] == 1


def test_keras_yolo3_without_a_list(write_files, pack):
    packed = pack(write_files({"2007_train.txt": "b.jpg\n" * 9 + "/data/a.jpg 5,6,15,26,7\nx y z\n"}, ["a.jpg"]))
    assert packed.title.endswith("no list called classes.txt, so classes are called by their numbers")
    assert packed.splits["train"].objects == {"a.jpg": [("7", *CAT[1:])]}


@pytest.mark.parametrize(
    "text", ["a.jpg 5 6 15 26 0\n", "a.jpg,5,6,15,26\n", "photos of a.jpg and b.jpg\n", "<dataset><x/></dataset>"]
)
def test_texts_of_others_are_none_of_these(write_files, recognized, text):
    assert not recognized(write_files({"a.txt": text, "a.xml": text}, ["a.jpg"]))
