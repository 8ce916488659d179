import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.data.file_names import Fit, match_names

FILES = ["a.jpg", "train/b.jpg", "val/c.jpg", "train/x.png", "val/x.png", "caf\u00e9.jpg", "my image#1.jpg", "v1.0.jpg"]


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("images\\a.jpg", "a.jpg"),
        (".\\train\\b.jpg", "train/b.jpg"),
        ("C:\\Users\\me\\data/train\\b.jpg", "train/b.jpg"),
        ("\\\\server\\share\\a.jpg", "a.jpg"),
        ("/home/me/data/train/b.jpg", "train/b.jpg"),
        ("../train//./b.jpg", "train/b.jpg"),
        ("b.jpg", "train/b.jpg"),
        ("A.JPG", "a.jpg"),
        (" a.jpg ", "a.jpg"),
        ("Train/B.JPEG", "train/b.jpg"),
        ("a", "a.jpg"),
        ("v1.0", "v1.0.jpg"),
        ("data/v1.0.png", "v1.0.jpg"),
        ("cafe\u0301.jpg", "caf\u00e9.jpg"),
        ("x/cafe%CC%81.JPG", "caf\u00e9.jpg"),
        ("my%20image%231.jpg", "my image#1.jpg"),
        ("https://host/bucket/a.jpg", "a.jpg"),
        ("https://host/bucket/a.jpg?X-Signature=1%2F2&y=z", "a.jpg"),
        ("https://host/v0/o/train%2Fb.jpg?alt=media#top", "train/b.jpg"),
        ("file:///C:/data/a.jpg", "a.jpg"),
        ("gs://bucket/train/b.jpg", "train/b.jpg"),
        ("/data/local-files/?d=train/b.jpg", "train/b.jpg"),
        ("a.jpg?x=1", "a.jpg"),
    ],
)
def test_name_of_one_file_in_another_spelling_is_resolved(written, file):
    match = match_names([written], FILES)[written]
    assert (match.fit, match.file) == (Fit.INEXACT, file)


@pytest.mark.parametrize(
    ("written", "fit", "hint"),
    [
        ("x.png", Fit.AMBIGUOUS, "; it matches train/x.png and val/x.png"),
        ("images/x.jpg", Fit.NONE, "; did you mean train/x.png?"),
        ("val/b.jpg", Fit.NONE, "; did you mean train/b.jpg?"),
        ("a\0.jpg", Fit.NONE, "; did you mean a.jpg?"),
        ("a.txt", Fit.NONE, None),
        ("my image.jpg", Fit.NONE, None),
        ("%ff.jpg", Fit.NONE, None),
        ("\ud800.jpg", Fit.NONE, None),
        ("", Fit.NONE, ""),
        ("..", Fit.NONE, ""),
        ("train", Fit.NONE, ""),
    ],
)
def test_other_names_are_not_guessed(written, fit, hint):
    match = match_names([written], FILES)[written]
    assert (match.fit, match.file) == (fit, None)
    assert hint in (None, match.hint)


def test_exact_name_wins_over_all_other_spellings():
    files = ["a.jpg", "A.jpg", "x/a.jpg", "x\\a.jpg", "a%20b.jpg", "a b.jpg"]
    assert {name: (match.fit, match.file) for name, match in match_names(files, files).items()} == {
        name: (Fit.EXACT, name) for name in files
    }


def test_closest_spelling_decides():
    files = ["a.jpg", "a.png", "A.JPG"]
    names = ["x/a.jpg", "x/A.JPG", "a.gif", "x/a.PNG"]
    matches = match_names(names, files)
    assert [matches[name].file for name in names] == ["a.jpg", "A.JPG", None, "a.png"]


def test_a_closer_spelling_does_not_win_by_leaving_folders_out():
    files = ["1.jpg", "train/1.jpg", "a b/2.jpg", "2.jpg"]
    names = ["TRAIN/1.jpg", "s3://bucket/a%20b/2.jpg", "elsewhere/1.jpg"]
    matches = match_names(names, files)
    assert [matches[name].fit for name in names] == [Fit.AMBIGUOUS, Fit.AMBIGUOUS, Fit.INEXACT]
    assert matches["TRAIN/1.jpg"].hint == "; it matches 1.jpg and train/1.jpg"


def test_two_names_do_not_share_a_file_but_where_both_can_only_be_read_so():
    names = ["1.jpg", "old/1.jpg", "train\\1.jpg", "/data/train/1.jpg", "2.png", "2.bmp", "D:\\3.jpg", "D:/3.jpg"]
    matches = match_names(names, ["1.jpg", "2.jpg", "3.jpg"], "/data/train")
    assert [matches[name].file for name in names] == ["1.jpg", None, "1.jpg", "1.jpg", None, None, "3.jpg", "3.jpg"]
    assert matches["old/1.jpg"].hint == "; it matches 1.jpg, as does /data/train/1.jpg"
    assert matches["2.png"].hint == "; it matches 2.jpg, as does 2.bmp"


LETTERS = st.text("abc\u00e9\u00fc\u4e2d\U0001f600 ._-#?%&+()", min_size=1, max_size=6)
STEMS = LETTERS.map(lambda text: unicodedata.normalize("NFC", f"n{text}n"))
PATHS = st.builds(lambda folders, stem: "/".join([*folders, stem + ".jpg"]), st.lists(STEMS, max_size=2), STEMS)
MANGLINGS = [
    lambda path: path.replace("/", "\\"),
    lambda path: f"./{path}",
    lambda path: f"C:\\Elsewhere\\{path}",
    lambda path: f"/Elsewhere/{path}",
    lambda path: f"images/{path}",
    lambda path: f"s3://elsewhere/{quote(path)}",
    lambda path: f"https://elsewhere/{quote(path, safe='')}?Signature=1",
    lambda path: path.rpartition("/")[2],
    lambda path: path.upper(),
    lambda path: path.removesuffix(".jpg") + ".png",
    lambda path: path.removesuffix(".jpg"),
    lambda path: path.removesuffix(".jpg") + ".JPEG",
    quote,
    lambda path: unicodedata.normalize("NFD", path),
]


@given(st.lists(PATHS, min_size=1, max_size=6), st.lists(st.sampled_from(MANGLINGS), min_size=1, max_size=2), st.data())
def test_mangled_name_is_resolved_to_its_file_or_not_at_all(files, manglings, data):
    meant = data.draw(st.sampled_from(files))
    written = meant
    for mangle in manglings:
        written = mangle(written)
    match = match_names([written], files, "/data/images")[written]
    if written in files:
        assert match == (Fit.EXACT, written, "")
    else:
        # Once decoded it may be the whole path of another file, which rules out all that only end alike.
        assert match.file in (meant, unquote(written), None)
    if len({file.rpartition("/")[2] for file in files}) == 1 and len(set(files)) == 1 and len(manglings) == 1:
        assert match.file == meant
