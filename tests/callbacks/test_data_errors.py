"""What is shown of samples that cannot be read, at the end of a run of one process and of two."""

import re
from dataclasses import replace

import pytest
import rich

from lightning_rcnn.callbacks import DataErrors


@pytest.fixture
def damage(make_loader, monkeypatch):
    """`damage(loader, {batch: problem})`: as a loader marks the first slot of a batch that it had to leave empty."""
    monkeypatch.setenv("COLUMNS", "200")

    def mark(loader, problems):
        for number, problem in problems.items():
            batch = loader.dataset[number]
            loader.dataset[number] = replace(
                batch, records=(replace(batch.records[0], problem=problem), *batch.records[1:])
            )
        return loader

    return mark


def table_rows(text):
    return re.findall(r"│ (\w+) +│ +(\d+) +│ +(\d+) +│ (.*?) +│", text)


def test_samples_are_counted_once_and_their_times_too(scorer, make_loader, make_trainer, damage, capsys):
    train = damage(make_loader([1] * 3), {0: "a.tar, key 1: cut off", 2: "a.tar, key 3: damaged"})
    val = damage(make_loader([1]), {0: "b.tar, key 7: cut off"})
    make_trainer(DataErrors(), max_epochs=2).fit(scorer, train, val)
    out = capsys.readouterr().out
    assert sorted(table_rows(out)) == [
        ("training", "2", "4", "a.tar, key 1: cut off"),
        ("validation", "1", "2", "b.tar, key 7: cut off"),
    ]
    assert out.count("left out as unreadable") == 1


def test_objects_have_a_table_of_their_own(scorer, make_loader, make_trainer, damage, capsys):
    train = damage(make_loader([1] * 2), {0: "a.tar, key 1: cut off"})
    batch = train.dataset[1]
    line = "item 3 of Scenes: 1 of 2 boxes have no area"
    train.dataset[1] = replace(batch, records=(replace(batch.records[0], left_out=line), *batch.records[1:]))
    make_trainer(DataErrors(), max_epochs=2).fit(scorer, train)
    samples, objects = capsys.readouterr().out.split("objects left out")
    assert table_rows(samples) == [("training", "1", "2", "a.tar, key 1: cut off")]
    assert table_rows(objects) == [("training", "1", "2", line)]


def test_clipped_boxes_have_a_table_of_their_own(scorer, make_loader, make_trainer, capsys):
    train = make_loader([1])
    batch = train.dataset[0]
    line = "item 3 of Scenes: 1 of 2 boxes reach beyond"
    train.dataset[0] = replace(batch, records=(replace(batch.records[0], clipped=line),))
    make_trainer(DataErrors(), max_epochs=2).fit(scorer, train)
    out = capsys.readouterr().out
    assert table_rows(out) == [("training", "1", "2", line)]
    assert "boxes clipped to their images" in out


def test_damaged_images_have_a_table_of_their_own(scorer, make_loader, make_trainer, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    train = make_loader([1])
    batch = train.dataset[0]
    train.dataset[0] = replace(batch, records=(replace(batch.records[0], damage="a.tar, key 2: extra bytes"),))
    make_trainer(DataErrors(), max_epochs=2).fit(scorer, train)
    out = capsys.readouterr().out
    assert table_rows(out) == [("training", "1", "2", "a.tar, key 2: extra bytes")]
    assert "used although damaged" in out
    assert "unreadable" not in out


def test_partners_that_cannot_be_mixed_in_are_counted_with_the_samples(
    scorer, make_loader, make_trainer, damage, capsys
):
    train = damage(make_loader([1] * 2), {0: "a.tar, key 1: cut off"})
    batch = train.dataset[1]
    partners = (train.dataset[0].records[0], replace(batch.records[0], problem="", damage="a.tar, key 2: extra bytes"))
    train.dataset[1] = replace(batch, records=(replace(batch.records[0], partners=partners), *batch.records[1:]))
    make_trainer(DataErrors(), max_epochs=2).fit(scorer, train)
    samples, used = capsys.readouterr().out.split("used although damaged")
    assert table_rows(samples) == [("training", "1", "4", "a.tar, key 1: cut off")]
    assert table_rows(used) == [("training", "1", "2", "a.tar, key 2: extra bytes")]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_evaluations_show_theirs(scorer, make_loader, make_trainer, damage, command, capsys):
    getattr(make_trainer(DataErrors()), command)(scorer, damage(make_loader([1]), {0: "b.tar, key 7: cut off"}))
    assert [row[1:] for row in table_rows(capsys.readouterr().out)] == [("1", "1", "b.tar, key 7: cut off")]


def test_a_sound_run_shows_nothing(scorer, make_loader, make_trainer, capsys):
    make_trainer(DataErrors()).fit(scorer, make_loader([1]), make_loader([1]))
    assert "unreadable" not in capsys.readouterr().out


def test_a_run_that_fails_shows_them_too(scorer, make_loader, make_trainer, damage, monkeypatch, capsys):
    train = damage(make_loader([1] * 3), {0: "a.tar, key 1: cut off"})
    step = scorer.training_step

    def fail(batch, batch_idx):
        if batch_idx == 2:
            raise ZeroDivisionError
        return step(batch, batch_idx)

    monkeypatch.setattr(scorer, "training_step", fail)
    with pytest.raises(ZeroDivisionError):
        make_trainer(DataErrors()).fit(scorer, train)
    assert table_rows(capsys.readouterr().out) == [("training", "1", "1", "a.tar, key 1: cut off")]


@pytest.mark.end_to_end
def test_rank_0_shows_those_of_all_ranks(scorer, make_loader, make_trainer, damage, run_ranks, tmp_path):
    def fit(rank):
        problems = {0: f"a.tar, key {rank}: cut off", 1: "a.tar, key 9: damaged"}
        train = damage(make_loader([1] * 2), problems)
        with (tmp_path / f"out{rank}").open("w") as out:
            rich.get_console().file = out
            make_trainer(DataErrors(), devices=2, strategy="ddp", use_distributed_sampler=False).fit(scorer, train)

    assert [ending.status for ending in run_ranks(fit)] == [0, 0]
    assert table_rows((tmp_path / "out0").read_text()) == [("training", "3", "4", "a.tar, key 0: cut off")]
    assert (tmp_path / "out1").read_text() == ""
