from lightning_rcnn.data.formats.annotation_files import ImageNames, image_folder
from lightning_rcnn.data.formats.layout import Layout


def test_the_folder_of_the_images_of_an_annotation_file(write_files):
    """Its own; or the outermost that is called like its split, if there is one; or the whole set."""
    images = ["train/a/b.jpg", "train/images_train/c.jpg", "x/val2017/d.jpg", "y/val/e.jpg"]
    layout = Layout(write_files({}, images))
    files = ["train/x.json", "x/x.json", "train.json", "annotations/train_1.json", "val.json", "test.json", "x.json"]
    assert [image_folder(layout, file) for file in files] == ["train", "x", "train", "train", "", "", ""]


def test_a_file_for_each_image_does_not_search_the_images_each_time(write_files):
    class Counted(list):
        searches = 0

        def __iter__(self):
            Counted.searches += 1
            return super().__iter__()

    layout = Layout(write_files({}, ["images/a.jpg"]))
    layout.images = Counted(layout.images)
    for number in range(100):
        assert ImageNames(layout, f"annotations/{number}.json").find("a.jpg") == "images/a.jpg"
    assert Counted.searches < 5
