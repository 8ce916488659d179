"""UA-DETRAC, in the form in which it is published: an XML file for each sequence of frames."""

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)

DETRAC = """<?xml version="1.0" encoding="utf-8"?>
<sequence name="MVI_20011">
   <sequence_attribute camera_state="unstable" sence_weather="sunny"/>
   <ignored_region>
      <box left="50.25" top="1.75" width="12.75" height="9.5"/>
   </ignored_region>
   {}
</sequence>"""
FRAME = '<frame density="1" num="{}"><target_list>{}</target_list></frame>'


def target(vehicle, left, top, right, bottom):
    box = f'<box left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"/>'
    attribute = f'<attribute orientation="18.4" speed="6.8" truncation_ratio="0.1" vehicle_type="{vehicle}"/>'
    hidden = '<occlusion><region_overlap occlusion_id="2" left="1" top="1" width="2" height="2"/></occlusion>'
    return f'<target id="1">{box}{attribute}{hidden}</target>'


def frames(*numbers):
    return [f"Insight-MVT_Annotation_Train/MVI_20011/img{number:05d}.jpg" for number in numbers]


def test_ua_detrac(write_files, pack):
    """Frames without an entry have no objects."""
    content = FRAME.format(1, target("car", *CAT[1:])) + FRAME.format(3, target("van", *DOG[1:]))
    root = write_files({"DETRAC-Train-Annotations-XML/MVI_20011.xml": DETRAC.format(content)}, frames(1, 2, 3))
    packed = pack(root, max_loss=0, strict=True)
    assert packed.title == "found UA-DETRAC (1 sequence, train 3 images)"
    train = packed.splits["train"]
    first, second, third = frames(1, 2, 3)
    assert train.objects == {first: [("car", *CAT[1:])], second: [], third: [("van", *DOG[1:])]}
    assert train.report == {"no_class": 3, "empty_image": 1}


def test_bad_files_of_ua_detrac(write_files, pack, refusal):
    root = write_files({"MVI_20011.xml": DETRAC.format(FRAME.format(1, "") * 2)}, frames(1))
    assert "MVI_20011.xml: the frame '1' has no number, or occurs twice; correct or remove it" in refusal(root)
    write_files({"MVI_20011.xml": DETRAC.format(FRAME.format(1, ""))[:-5]})
    assert "MVI_20011.xml: malformed XML" in refusal(root)
    bad = target("car", 1, 2, 3, 4).replace('left="1"', 'left="x"', 1) + target("", 1, 2, 3, 4) + "<target/>"
    content = FRAME.format(1, target("car", *CAT[1:]) + bad) + FRAME.format(9, target("car", *CAT[1:]))
    packed = pack(write_files({"MVI_20011.xml": DETRAC.format(content)})).splits["train"]
    assert packed.objects == {frames(1)[0]: [("car", *CAT[1:])]}
    assert packed.report == {"no_class": 1, "missing_image": 1, "malformed_object": 2, "unknown_class": 1}


def test_two_frames_of_one_number_are_refused(write_files, refusal):
    texts = {"MVI_20011.xml": DETRAC.format(FRAME.format(1, target("car", *CAT[1:])))}
    root = write_files(texts, [frames(1)[0], frames(1)[0].replace("00001", "1")])
    words = "img00001.jpg and Insight-MVT_Annotation_Train/MVI_20011/img1.jpg are both frame 1 of the sequence"
    assert words in refusal(root)


def test_it_is_taken_for_itself_alone(write_files, recognized):
    assert recognized(
        write_files({"MVI_20011.xml": DETRAC.format(FRAME.format(1, target("car", *CAT[1:])))}, frames(1))
    ) == ["ua_detrac"]
