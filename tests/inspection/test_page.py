"""The page of an inspection: whole, self-contained, readable at any width, and with nothing but text from names."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_rcnn import pack_samples

BROWSER = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / "evaluation" / "report_page" / "browser.py"))
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if BROWSER.EXECUTABLE is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with BROWSER.Browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_what_is_doubtful_comes_first(of_planted, browser):
    report, page = of_planted
    for width, theme in ((1280, "light"), (400, "dark")):
        browser.resize(width, 900, theme)
        browser.open(page)
        assert browser.run("[...document.querySelectorAll('.finding h3')].map(e => e.lastChild.textContent)") == [
            finding["title"] for finding in report["findings"]
        ]
        levels = browser.run("[...document.querySelectorAll('.badge')].map(e => e.textContent)")
        assert levels == sorted(levels, key=["wrong", "doubtful", "note"].index)
        assert browser.run("document.querySelector('main section:nth-of-type(2)').id") == "doubtful"
        assert browser.run("document.documentElement.scrollWidth") <= width
        broken = "[...document.images].filter(i => { i.loading = 'eager'; return !i.src.startsWith('data:'); }).length"
        assert browser.run(broken) == 0
        assert browser.run("Promise.all([...document.images].map(i => i.decode())).then(() => true)")
        # Both pictures of a leak stand side by side.
        assert browser.run("document.querySelectorAll('.finding .case')[0].querySelectorAll('img').length") == 2
        assert browser.run("document.querySelectorAll('.samples').length") == 3
        assert browser.problems == []


def test_names_are_text(inspect, browser, tmp_path):
    names = ["<img src=x onerror=alert(1)>", "</script><b>", "$x^2$ & $title"]
    rng = np.random.default_rng(0)
    for name in ("train", "val"):
        samples = [
            {
                "image": rng.integers(0, 255, (48, 64, 3), dtype=np.uint8),
                "boxes": [[4, 4, 30, 40], [4, 4, 30, 39.5]],
                "labels": [names[number % 3], names[(number + 1) % 3]],
                "file_name": f"</script><i>{number}.png",
            }
            for number in range(4)
        ]
        pack_samples(samples, tmp_path / name, classes=names, name="<u>set</u>")
    report, page = inspect(tmp_path)
    assert "box_of_two_classes" in {finding["kind"] for finding in report["findings"]}
    browser.open(page)
    assert browser.problems == []
    text = browser.run("document.body.innerText")
    assert all(name in text for name in (*names, "</script><i>0.png", "<u>set</u>"))
    assert browser.run("document.querySelectorAll('main b i, main u, img[src=x]').length") == 0
