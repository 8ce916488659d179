import subprocess

from lightning_rcnn.callbacks.code_version import code_version


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_commit_and_changes(tmp_path):
    assert code_version(tmp_path) == {}, "no repository"
    git(tmp_path, "init")
    assert code_version(tmp_path) == {}, "no commit"
    module = tmp_path / "head.py"
    module.write_text("a = 1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "metrics.json").write_text("{}")
    assert code_version(tmp_path) == {"commit": commit, "is_dirty": False}, "output is no code"
    (tmp_path / "new.py").touch()
    assert code_version(tmp_path)["is_dirty"], "a module that no commit has"
    (tmp_path / "new.py").unlink()
    module.write_text("a = 2")
    assert code_version(tmp_path) == {"commit": commit, "is_dirty": True}


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == {}
