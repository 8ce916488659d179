import re
import shutil
from pathlib import Path

import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.data.formats.csv_files import read_csv
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.pack.any_format import found_data

BCCD = Path(__file__).parents[4] / "shared" / "data" / "bccd"
CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax"
OPEN_IMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)


def test_tensorflow_and_roboflow(write_files, pack):
    """Each split has a folder with its own file, and two images of one name."""
    texts = {
        "train/_annotations.csv": lines(TENSORFLOW, "a.jpg,64,48,cat,5,6,15,26", "a.jpg,64,48,dog,10,10,30,40"),
        "valid/_annotations.csv": lines(TENSORFLOW, "a.jpg,64,48,cat,5,6,15,26"),
    }
    packed = pack(write_files(texts, ["train/a.jpg", "valid/a.jpg"]), strict=True)
    assert packed.title == ("found CSV (train/_annotations.csv, valid/_annotations.csv, 2 splits: train 1, val 1)")
    assert packed.splits["train"].objects == {"train/a.jpg": [CAT, DOG]}
    assert packed.splits["val"].objects == {"valid/a.jpg": [CAT]}


def test_retinanet(write_files, pack_one):
    texts = {
        "annotations.csv": lines(
            "/data/imgs/a.jpg,5,6,15,26,cat", "/data/imgs/a.jpg,10,10,30,40,dog", "imgs/b.jpg,,,,,"
        ),
        "classes.csv": lines("dog,0", "cat,1"),
    }
    packed = pack_one(write_files(texts, ["imgs/a.jpg", "imgs/b.jpg"]))
    assert packed.classes == ["dog", "cat"], "the order of the list"
    assert packed.objects == {"imgs/a.jpg": [CAT, DOG], "imgs/b.jpg": []}
    assert packed.report == {"inexact_file_name": 1, "empty_image": 1}


def test_makesense(write_files, pack_one):
    root = write_files({"labels.csv": lines("cat,5,6,10,20,a.jpg,64,48", "dog,10,10,20,30,a.jpg,64,48")}, ["a.jpg"])
    assert pack_one(root, strict=True).objects == {"a.jpg": [CAT, DOG]}


def test_google_automl(write_files, pack):
    """Two of the four corners may be empty; an image without objects has its path only."""
    rows = lines(
        "TRAIN,gs://bucket/imgs/a.jpg,cat,0.25,0.25,,,0.5,0.5,,",
        "TRAIN,gs://bucket/imgs/a.jpg,dog,0.5,0.25,0.75,0.25,0.75,0.5,0.5,0.5",
        "VALIDATE,gs://bucket/imgs/b.jpg,,,,,,,,,",
    )
    packed = pack(write_files({"all.csv": rows}, ["imgs/a.jpg", "imgs/b.jpg"]))
    assert packed.splits["train"].objects == {"imgs/a.jpg": [("cat", 16, 12, 32, 24), ("dog", 32, 12, 48, 24)]}
    assert packed.splits["val"].objects == {"imgs/b.jpg": []}


def test_gtsdb_and_keras(write_files, pack_one):
    root = write_files({"gt.txt": lines("a.png;5;6;15;26;2", "a.png;10;10;30;40;11"), "readme.txt": "Signs"}, ["a.png"])
    packed = pack_one(root, strict=True)
    assert packed.objects == {"a.png": [("2", *CAT[1:]), ("11", *DOG[1:])]}
    assert packed.classes == ["2", "11"], "in the order of the numbers"
    root = write_files({"gt.txt": lines("a.png,5,6,15,26,cat", "a.png,10,10,30,40,dog")})
    assert pack_one(root, strict=True).objects == {"a.png": [CAT, DOG]}


def test_gtsrb(write_files, pack_one):
    names = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    root = write_files({"00003/GT-00003.csv": lines(names, "a.png;64;48;5;6;15;26;3")}, ["00003/a.png"])
    assert pack_one(root, strict=True).objects == {"00003/a.png": [("3", *CAT[1:])]}


def test_udacity_whose_column_of_images_only_their_names_tell(write_files, pack):
    texts = {"labels_train.csv": lines("frame,xmin,xmax,ymin,ymax,class_id", "1478.jpg,5,15,6,26,3")}
    packed = pack(write_files(texts, ["images/1478.jpg"]))
    assert packed.splits["train"].objects == {"images/1478.jpg": [("3", *CAT[1:])]}


def test_of_two_such_columns_none_is_chosen(write_files, refusal):
    rows = lines("frame,mask,xmin,xmax,ymin,ymax", "a.jpg,a.png,5,15,6,26")
    assert "has the columns frame, mask" in refusal(write_files({"a.csv": rows}, ["a.jpg"]))


def test_numbers_of_classes_are_their_names_only_where_there_are_no_others(write_files, pack_one):
    rows = lines("filename,class_id,xmin,ymin,xmax,ymax,class_name", "a.jpg,7,5,6,15,26,cat")
    assert pack_one(write_files({"a.csv": rows}, ["a.jpg"]), strict=True).objects == {"a.jpg": [CAT]}


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_line_with_which_excel_begins(write_files, pack_one, refusal, first):
    names = "filename;xmin;ymin;xmax;ymax;class"
    root = write_files({"a.csv": lines(first, names, "a.jpg;5;6;15;26;cat")}, ["a.jpg"])
    assert pack_one(root, strict=True).objects == {"a.jpg": [CAT]}
    (root / "a.csv").write_text(lines("sep=\t", names.replace(";", "\t"), "a.jpg\t5\t6\t15\t26\tcat"))
    assert pack_one(root, strict=True).objects == {"a.jpg": [CAT]}


def test_a_long_list_of_classes_is_read_to_its_end(write_files, pack_one):
    names = [f"species number {number:05d}" for number in reversed(range(5000))]
    texts = {
        "annotations.csv": lines(f"a.jpg,5,6,15,26,{names[0]}", f"a.jpg,10,10,30,40,{names[-1]}"),
        "classes.csv": lines(*(f"{name},{number}" for number, name in enumerate(names))),
    }
    packed = pack_one(write_files(texts, ["a.jpg"]), strict=True)
    assert packed.classes == [names[0], names[-1]], "in the order of the list"


def test_sku110k(write_files, pack):
    texts = {
        f"annotations/annotations_{split}.csv": lines(
            f"{split}_0.jpg,5,6,15,26,object,64,48", f"{split}_0.jpg,10,10,30,40,object,64,48"
        )
        for split in ("train", "val", "test")
    }
    packed = pack(write_files(texts, [f"images/{split}_0.jpg" for split in ("train", "val", "test")]))
    assert list(packed.splits) == ["train", "val", "test"]
    assert packed.splits["test"].objects == {"images/test_0.jpg": [("object", *CAT[1:]), ("object", *DOG[1:])]}


def test_open_images_as_fiftyone_downloads_them(write_files, pack):
    texts = {
        "train/metadata/classes.csv": lines("/m/01yrx,cat", "/m/0bt9lr,dog"),
        "train/metadata/image_ids.csv": lines("ImageID,Subset,OriginalURL", "a1,train,http://host/a1.jpg"),
        "train/labels/detections.csv": lines(OPEN_IMAGES, "a1,xclick,/m/0bt9lr,1,0,1,0,1,0,0,1,0,0"),
    }
    packed = pack(write_files(texts, ["train/data/a1.jpg"]))
    assert packed.splits["train"].objects == {"train/data/a1.jpg": [("dog", 0, 0, 64, 48)]}


def test_open_images(write_files, pack):
    """Ids without suffix, shares of the size, groups, and names of classes in a list of their own."""
    texts = {
        "class-descriptions-boxable.csv": lines("/m/01yrx,cat", "/m/0bt9lr,dog", "/m/0k4j,Car"),
        "oidv6-train-annotations-bbox.csv": lines(
            OPEN_IMAGES, "a1,xclick,/m/01yrx,1,0.25,0.5,0.25,0.75,0,0,0,0,0", "a1,xclick,/m/0bt9lr,1,0,1,0,1,0,0,1,0,0"
        ),
        "validation-annotations-bbox.csv": lines(OPEN_IMAGES, "b2,xclick,/m/01yrx,1,0.5,1,0.5,1,0,0,0,0,0"),
    }
    packed = pack(write_files(texts, ["train/a1.jpg", "validation/b2.jpg"]))
    assert packed.splits["train"].classes == packed.splits["val"].classes == ["cat", "dog"]
    train, val = packed.splits["train"], packed.splits["val"]
    assert train.objects == {"train/a1.jpg": [("cat", 16, 12, 32, 36), ("dog", 0, 0, 64, 48)]}
    assert [each["iscrowd"] for each in train.records["train/a1.jpg"]["annotations"]] == [0, 1]
    assert val.objects == {"validation/b2.jpg": [("cat", 32, 24, 64, 48)]}


def test_one_box_in_a_cell_and_no_class(write_files, pack):
    row = 'a,64,48,"[5.0, 6.0, 10.0, 20.0]",usask_1'
    packed = pack(write_files({"train.csv": lines("image_id,width,height,bbox,source", row)}, ["train/a.jpg"]))
    assert packed.title.endswith("no column for the class, so all objects are object")
    assert packed.splits["train"].objects == {"train/a.jpg": [("object", *CAT[1:])]}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("photo;left;top;right;bottom;kind\na.jpg;5;6;15;26;cat\n", "image=photo,x1=left,class=kind"),
        ("cat\t15\t26\t5\t6\ta.jpg\n", "class=1,x2=2,y2=3,x1=4,y1=5,image=6"),
        ("photo,a,b,c,d,kind\na.jpg,5,6,15,26,cat\n", "image=1,x1=2,y1=3,x2=4,y2=5,class=6"),
        ("photo,a,b,c,d,label\na.jpg,5,6,15,26,cat\n", "image=photo,x1=2,y1=3,x2=4,y2=5"),
        ("photo,xmin,ymin,xmax,ymax,w,h,label\na.jpg,5,6,0,0,10,20,cat\n", "image=1,x=2,y=3,w=6,h=7"),
        ("photo,xmin,ymin,xmax,ymax,l,t,w,h,label\na.jpg,1,2,3,4,5,6,10,20,cat\n", "image=photo,x=l,y=t,w=w,h=h"),
        ("photo,xmin,ymin,xmax,ymax,kind\na.jpg,5,6,15,26,cat\n", "image=1,class=6"),
        ("photo,l,t,width,height,kind\na.jpg,5,6,10,20,cat\n", "image=1,x=2,y=3,w=4,h=5,class=6"),
        ("photo;where;kind\na.jpg;[5, 6, 10, 20];cat\n", "image=1,bbox=2,class=3"),
        ('a.jpg,"[5, 6, 10, 20]",cat\n', "image=1,bbox=2,class=3"),
        ("photo,name,xmin,ymin,xmax,ymax,label\na.jpg,p1,5,6,15,26,cat\n", "image=photo,group=name"),
        (
            "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;Lower right corner Y"
            "\na.jpg;cat;5;6;15;26\n",
            None,
        ),
        ("image,x1,y1,x2,y2,label\na.jpg,5,6,15,26,cat\nImage,x1,y1,x2,y2,label\n", None),
        ("\n\nimage,xmin,ymin,xmax,ymax,label\n\n,,,,,\na.jpg,5,6,15,26,cat\n", None),
        ("image,x,y,width,height,label\na.jpg,5,6,10,20,cat\n", None),
        ("image,x_center,y_center,bbox_w,bbox_h,label\na.jpg,10,16,10,20,cat\n", None),
        ("filename,x_center,y_center,width,height,class\na.jpg,10,16,10,20,cat\n", None),
        ("image,label,left,width,top,height\na.jpg,cat,5,10,6,20\n", None),
        ("image,label,left,top,r,b,width,height\na.jpg,cat,5,6,15,26,64,48\n", "x2=r,y2=b"),
        ("filename,xmin,ymin,w,h,width,height,class\na.jpg,5,6,10,20,64,48,cat\n", None),
        ("image,class,x_1,y_1,x_2,y_2,width,height\na.jpg,cat,5,6,15,26,64,48\n", None),
        ("filename,xmin,ymin,xend,yend,width,height,class\na.jpg,5,6,15,26,64,48,cat\n", "x2=xend,y2=yend"),
        ("id,image,x,y,width,height,score,label\n1,a.jpg,5,6,10,20,0.5,cat\n", "w=width,h=height"),
    ],
)
def test_columns_by_name_and_by_number(write_files, tmp_path, pack, text, columns, monkeypatch):
    root = write_files({"boxes.csv": text}, ["a.jpg"])
    seen = []
    monkeypatch.setattr("lightning_rcnn.cli.commands.packing.pack_found", lambda found, *_: seen.extend(found))
    assert main(["pack", "csv", str(root), *(["--columns", columns] if columns else [])]) == 0
    packed = pack(root, seen[0]).splits[""]
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {}


@pytest.mark.parametrize("first", ["a.jpg,-.5,-.5,15,26,cat", "a,-.5,+.5,15,26,cat", "a.jpg,null,null,null,null,cat"])
def test_a_first_line_without_names_is_not_lost(write_files, first):
    root = write_files({"boxes.csv": lines(first, "b.jpg,5,6,15,26,dog")}, ["a.jpg", "b.jpg"])
    columns = dict(zip(("image", "x1", "y1", "x2", "y2", "class"), "123456", strict=True))
    (split,) = read_csv(Layout(root), columns).splits
    assert [len(image.labels.objects) for image in split.images] == [1, 1]


def test_a_long_cell_beside_the_box(write_files, pack_one):
    text = f"image,xmin,ymin,xmax,ymax,label,rle\na.jpg,5,6,15,26,cat,{'1 2 ' * 40_000}\n"
    assert pack_one(write_files({"masks.csv": text}, ["a.jpg"])).objects == {"a.jpg": [CAT]}


@pytest.mark.parametrize("columns", ["image=1,x1=2,y1=3,x2=4,y2=5,class=6", "image=photo,class=kind"])
def test_given_columns_are_not_those_of_a_list_of_classes(write_files, tmp_path, pack, columns):
    boxes = lines("photo,xmin,ymin,xmax,ymax,kind", "a.jpg,5,6,15,26,cat")
    root = write_files({"boxes.csv": boxes, "classes.csv": lines("dog,1", "cat,0")}, ["a.jpg"])
    data = read_csv(Layout(root), dict(pair.split("=") for pair in columns.split(",")))
    assert data.class_names == ["cat"]
    assert pack(root, found_data("csv", root, data)).splits[""].objects == {"a.jpg": [CAT]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "image,class,xmin,ymin,xend,yend,width,height\na.jpg,cat,5,6,15,26,64,48\n",
            "width, height may be the size of the image, and xend, yend the edges of the box",
        ),
        (
            "filename,Width,Height,class,x,y\na.jpg,64,48,cat,5,6\na.jpg,64,48,cat,7,8\nb.jpg,48,64,cat,7,8\n",
            "Width, Height are the size of the image in every line, and no box",
        ),
    ],
)
def test_the_size_of_the_image_is_no_box(write_files, refusal, text, reason):
    message = refusal(write_files({"boxes.csv": text}, ["a.jpg", "b.jpg"]))
    assert f"boxes.csv: {reason}; name the columns of the box with `pack csv --columns x2=NAME,y2=NAME`, or" in message
    assert re.search("with `--columns w=width,h=height` if they are its size", message, re.IGNORECASE)


def test_the_sizes_of_boxes_differ_from_those_of_images(write_files, pack_one):
    """Two sizes in one image are of boxes, whatever else there is; so is one that its image does not have."""
    head, rows = "id,image,x,y,width,height,score,label", ("1,a.jpg,5,6,10,20,0.5,cat", "2,a.jpg,10,10,20,30,0.5,dog")
    assert pack_one(write_files({"boxes.csv": lines(head, *rows)}, ["a.jpg"])).objects == {"a.jpg": [CAT, DOG]}
    rows = ("a.jpg,0,0,64,48,cat", "b.jpg,10,10,20,30,dog")
    root = write_files({"boxes.csv": lines("image,x,y,width,height,label", *rows)}, ["a.jpg", "b.jpg"])
    assert pack_one(root).objects == {"a.jpg": [("cat", 0, 0, 64, 48)], "b.jpg": [DOG]}


def test_a_column_may_tell_the_split(write_files, pack, refusal):
    """Unless it is of something else, which is said; an image in two splits is refused."""
    head = "filename,split,xmin,ymin,xmax,ymax,class"
    rows = ["a.jpg,TRAIN,5,6,15,26,cat", "b.jpg,VALIDATION,10,10,30,40,dog", "a.jpg,TRAIN,10,10,30,40,dog"]
    root = write_files({"train.csv": lines(head, *rows)}, ["a.jpg", "b.jpg"])
    packed = pack(root)
    assert {split: each.objects for split, each in packed.splits.items()} == {
        "train": {"a.jpg": [CAT, DOG]},
        "val": {"b.jpg": [DOG]},
    }
    write_files({"train.csv": lines(head, *rows[:2], rows[2].replace("TRAIN", "train"))})
    assert pack(root).splits == packed.splits, "the same split"
    for other in ("fold 2", ""):
        write_files({"train.csv": lines(head, *(row.replace("VALIDATION", other) for row in rows))})
        packed = pack(root)
        assert list(packed.splits) == ["train"], "as the file is called"
        assert f"train.csv: its column of splits is not used, since b.jpg has {other!r} there, which is" in packed.title
    write_files({"train.csv": lines(head, *rows, "a.jpg,TEST,1,1,9,9,cat")})
    shutil.rmtree(root.parent / "out")
    assert "line 5: a.jpg is in the splits 'TRAIN' and 'TEST'; give it one split" in refusal(root)


def test_bad_lines(write_files, pack_one, refusal):
    rows = ["a.jpg,5,6,15,26,cat", "a.jpg,5,6,15,26", "a.jpg,x,6,15,26,cat", "a.jpg,15,6,5,26,cat", "a.jpg,5,6,15,26,"]
    rows += ["lost.jpg,1,2,3,4,cat", "../b.jpg,1,2,3,4,cat", "a.jpg,70,6,90,26,cat"]
    root = write_files({"annotations.csv": lines(*rows)}, ["a.jpg", "../b.jpg"])
    assert "images would be left out" in refusal(root)
    packed = pack_one(root)
    assert packed.objects == {"a.jpg": [CAT]}
    assert packed.report == {
        "missing_image": 1,
        "file_outside_folder": 1,
        "malformed_object": 2,
        "inverted_box": 1,
        "unknown_class": 1,
        "box_outside": 1,
    }
    five = write_files({"annotations.csv": lines(rows[0], rows[1])}, [])
    assert "annotations.csv, line 2: 5 columns where 6 are due" in refusal_of(five)


def test_a_cell_of_several_boxes_is_shown(write_files, refusal):
    root = write_files({"train.csv": "image_id,bbox\na,1 2 31 11;4 2 7 11\n"}, ["a.jpg"])
    message = refusal(root)
    assert "no object can be read (first: a, train.csv, line 2: '1 2 31 11;4 2 7 11' is not x, y, wi" in message
    assert message.endswith("; correct them, or yield the samples from Python with `pack_samples`")


def test_an_object_without_a_class_is_shown_also_behind_one_that_cannot_be_read(write_files, refusal):
    rows = ("image,xmin,ymin,xmax,ymax,label", "a.jpg,5,6,15,26,", 'a.jpg,"5,5",6,15,26,')
    assert "no object has a class (first: a.jpg, a.csv, line 3:" in refusal(
        write_files({"a.csv": lines(rows[0], rows[2], rows[1])}, ["a.jpg"])
    )


def test_a_cell_that_is_no_number_is_shown(write_files, refusal):
    root = write_files({"a.csv": lines("image,xmin,ymin,xmax,ymax,label", 'a.jpg,5,6,"15,5",26,cat')}, ["a.jpg"])
    assert "no object can be read (first: a.jpg, a.csv, line 2: '15,5' is not a number" in refusal(root)


def refusal_of(root):
    found = found_data("csv", root, read_csv(Layout(root)))
    (item,) = found.sources[""].items
    return " ".join(str(finding) for finding in found.sources[""].read(item).findings)


def test_other_csv_files_are_none(write_files, recognized, refusal, capsys):
    root = write_files({"scores.csv": "epoch,loss\n1,0.5\n"}, ["a.jpg"])
    assert recognized(root) == []
    assert main(["pack", "csv", str(root)]) == 1
    assert "no CSV file with columns for an image and a box; name them" in capsys.readouterr().err
    assert main(["pack", "csv", str(root), "--columns", "x1=9"]) == 1
    assert "has no column 9 for x1; it has" in capsys.readouterr().err
    assert main(["pack", "csv", str(root), "--columns", "image=foto"]) == 1
    assert "scores.csv: has no column 'foto'; it has epoch, loss" in capsys.readouterr().err


def test_several_formats_are_listed_with_their_commands(write_files, refusal):
    texts = {
        "boxes.csv": "filename,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3,4,cat\n",
        "a.xml": "<annotation></annotation>",
    }
    root = write_files(texts, ["a.jpg"])
    message = refusal(root)
    assert f"Pascal VOC (a.xml): `lightning-rcnn pack auto {root} --format voc`" in message
    assert f"CSV (boxes.csv): `lightning-rcnn pack auto {root} --format csv`" in message


def test_rows_without_an_image_are_counted(write_files, refusal):
    root = write_files({"a.csv": "image,x1,y1,x2,y2,class\na.jpg,5,6,15,26,cat\n,5,6,15,26,cat\n\n,,,,,\n"}, ["a.jpg"])
    assert "missing_image x 1 (first: a.csv, line 3 (its image))" in refusal(root)
