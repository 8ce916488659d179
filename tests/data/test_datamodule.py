"""The data module in Lightning's hands, and by itself."""

import random
import signal
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torchvision.transforms.v2 import RandomAffine

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.sampling import RepeatFactor
from lightning_rcnn.data.transforms import Colors, HorizontalFlip, Resize, VerticalFlip
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE, Bitmaps, Polygons

ALL_IDS = list(range(1000, 1043))


def data(folder: Path, **options: Any) -> DetectionDataModule:
    return DetectionDataModule(**{"train": str(folder), "batch_size": 4, "num_workers": 0, **options})


def images(batches: list[list[int]]) -> list[int]:
    return [image_id for batch in batches for image_id in batch if image_id != NO_IMAGE]


def test_without_a_trainer(uneven_set: Path):
    module = data(uneven_set, val=str(uneven_set), eval_batch_size=5)
    with pytest.raises(InputError, match="setup"):
        _ = module.categories
    module.setup("fit")
    assert [category.name for category in module.categories] == ["cat", "dog"]
    assert len(module.train_dataloader()) == 10
    batches = [batch.image_ids.tolist() for batch in module.val_dataloader()]
    assert len(batches) == 9
    assert sorted(images(batches)) == ALL_IDS
    assert module.state_dict() == {}


def test_the_rule_of_the_model_decides_the_sizes(uneven_set: Path, recording_module, trainer):
    module, model = data(uneven_set), recording_module()
    trainer(max_steps=1).fit(model, datamodule=module)
    shapes = {tuple(batch.images.shape[-2:]) for batch in module.train_dataloader()}
    assert all(min(shape) >= 32 and max(shape) <= 64 for shape in shapes)


def test_multi_scale_training(uneven_set: Path):
    module = data(uneven_set, train_transforms=[HorizontalFlip(), Resize([32, 64, 96])], val=str(uneven_set))
    module.setup("fit")
    short_edges = {min(size) for batch in module.train_dataloader() for size in batch.image_sizes.tolist()}
    assert short_edges == {32, 64, 96}
    assert {min(size) for batch in module.val_dataloader() for size in batch.image_sizes.tolist()} <= {800, 444, 0}


def test_given_shapes_are_used(uneven_set: Path, recording_module, trainer):
    model = recording_module()
    module = data(uneven_set, shapes=[[64, 64]])
    trainer(max_steps=1).fit(model, datamodule=module)
    assert {tuple(batch.images.shape[-2:]) for batch in module.train_dataloader()} == {(64, 64)}
    with pytest.raises(InputError, match=r"data.shapes: \d+ images of uneven fit into none of them, for example"):
        trainer(max_steps=1).fit(model, datamodule=data(uneven_set, shapes=[[32, 32]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": None}, "no data to fit: give --data.train"),
        ({"batch_size": 44}, r"data.train: 43 images are fewer than one batch of all devices \(1 x 44\)"),
        ({"batch_size": 0}, "data.batch_size: 0 is out of range; give 1 or more"),
        ({"seed": -1}, "data.seed: -1 is out of range; give 0 or more"),
        ({"batch_size": 2.5}, "data.batch_size: 2.5 is not a whole number"),
        ({"num_workers": -1}, "data.num_workers: -1 is out of range"),
        ({"shapes": [128, 128]}, r"data.shapes\[0\]: 128"),
        ({"loading": {"shuffle_window": 0}}, "LoadingSettings.shuffle_window: 0 is out of range"),
        ({"train": "/nowhere"}, "/nowhere: no such file or folder"),
        ({"train_transforms": [Resize([2000])]}, "min_size 2000 and max_size 1333 do not fit"),
        ({"shapes": [[33, 64]]}, "multiples of 32"),
    ],
)
def test_bad_options_are_named(uneven_set: Path, options, message: str):
    with pytest.raises(InputError, match=message) as caught:
        data(uneven_set, **options).setup("fit")
    assert "\n" not in str(caught.value)


def test_paths_and_dictionaries_of_settings_are_taken(uneven_set: Path):
    shard = uneven_set / "shard-000000.tar"
    module = DetectionDataModule([shard], val=uneven_set, loading={"shuffle_window": 4})
    module.setup("fit")
    assert (module.loading.shuffle_window, module.num_training_batches) == (4, 13 // module.batch_size)


@pytest.mark.parametrize("stage", ["validate", "test", "predict", TrainerFn.TESTING])
def test_each_stage_wants_its_data(uneven_set: Path, stage: str):
    with pytest.raises(InputError, match=r"no data to (validate|test|predict): give --data\."):
        data(uneven_set).setup(stage)


def test_validation_data_of_other_classes_are_refused(uneven_set: Path, make_set, tmp_path: Path):
    other = make_set(tmp_path / "other", (2,), categories=[Category(1, "cat", 7), Category(2, "cow", 19)])
    with pytest.raises(InputError, match=r"data.val does not fit: label 2 is 'dog' .* but 'cow' \(id 19\) in other"):
        data(uneven_set, val=str(other)).setup("fit")


def test_training_and_validation_data_of_one_name_are_told_apart(make_set, tmp_path: Path):
    names = (("a", "dog"), ("b", "cow"))
    train, val = (
        str(make_set(tmp_path / folder / "set", (2,), categories=[Category(1, "cat", 7), Category(2, name, 19)]))
        for folder, name in names
    )
    message = r"'dog' \(id 19\) in set \(data.train\) but 'cow' \(id 19\) in set \(data.val\)"
    with pytest.raises(InputError, match=message):
        data(train, val=val).setup("fit")


def test_a_set_without_images_is_refused(make_set, tmp_path: Path):
    with pytest.raises(InputError, match=r"data.train: empty has no images"):
        data(make_set(tmp_path / "empty", ())).setup("fit")


def test_training_without_any_object_is_refused(make_set, tmp_path: Path):
    without = str(make_set(tmp_path / "without", (1,)))  # the first sample has no object
    with pytest.raises(InputError, match=r"data.train: without has 1 image but no objects, so a model cannot learn"):
        data(without, batch_size=1).setup("fit")


def test_validation_without_any_object_is_a_word_of_warning(uneven_set: Path, make_set, tmp_path: Path):
    without = str(make_set(tmp_path / "without", (1,)))
    with pytest.warns(UserWarning, match=r"data.val: without has no objects, so its metrics are NaN"):
        data(uneven_set, val=without).setup("fit")


def test_the_model_decides_the_form_of_the_masks(make_set, tmp_path: Path, recording_module, trainer):
    folder = make_set(tmp_path / "masked", (4, 4), masks=True)
    for form, expected in (("none", type(None)), ("bitmaps", Bitmaps), ("polygons", Polygons)):
        model, module = recording_module(), data(folder, val=str(folder), num_workers=1)
        model.mask_form = form
        trainer(max_steps=1).fit(model, datamodule=module)
        assert {type(batch.targets.masks) for batch in module.train_dataloader()} == {expected}
        assert {type(batch.targets.masks) for batch in module.val_dataloader()} == {type(None)}


def test_without_a_model_the_form_of_the_masks_can_be_set(make_set, tmp_path: Path):
    module = data(make_set(tmp_path / "masked", (4, 4), masks=True))
    module.mask_form = "polygons"
    module.setup("fit")
    (first, second) = module.train_dataloader()
    assert first.targets.masks.edges.shape == second.targets.masks.edges.shape == (4, 8, 32, 4)


def test_a_set_without_masks_is_refused_where_the_model_needs_them(
    uneven_set: Path, make_set, tmp_path, recording_module, trainer
):
    masked, unmasked = str(make_set(tmp_path / "masked", (4, 4), masks=True)), str(uneven_set)
    model = recording_module()
    model.mask_form = "bitmaps"
    way_out = r"has boxes but no masks, which RecordingModule needs; use Faster R-CNN, or pack .* with segmentations"
    with pytest.raises(InputError, match=f"data.train: uneven {way_out}"):
        trainer(max_steps=1).fit(model, datamodule=data(uneven_set))
    for wanted in ("fit", "validate", "test"):
        module = data(masked, val=unmasked, test=unmasked)
        split = "test" if wanted == "test" else "val"
        with pytest.raises(InputError, match=f"data.{split}: uneven {way_out}") as caught:
            getattr(trainer(max_steps=1), wanted)(model, datamodule=module)
        assert "\n" not in str(caught.value)
    trainer().predict(model, datamodule=data(masked, predict=unmasked))


def test_of_several_sources_the_one_without_masks_is_named(make_set, tmp_path):
    first = make_set(tmp_path / "first", (4, 4), masks=True)
    second = make_set(tmp_path / "second", (4, 4), first_id=5000)
    module = data(first, train=[str(first), str(second)])
    module.mask_form = "bitmaps"
    with pytest.raises(InputError, match=r"data\.train: second has boxes but no masks"):
        module.setup("fit")


def test_fit_validate_test_predict(uneven_set: Path, recording_module, trainer):
    whole = str(uneven_set)
    module = data(uneven_set, val=whole, test=whole, predict=f"{whole}/shard-000001.tar", num_workers=1)
    model = recording_module()
    runner = trainer(max_epochs=1)
    runner.fit(model, datamodule=module)
    assert sorted(images(model.validated)) == ALL_IDS
    model.validated.clear()
    runner.validate(model, datamodule=module)
    assert sorted(images(model.validated)) == ALL_IDS
    model.validated.clear()
    runner.test(model, datamodule=module)
    assert sorted(images(model.validated)) == ALL_IDS
    assert sorted(images(runner.predict(model, datamodule=module))) == list(range(1013, 1020))


def test_evaluation_brings_the_annotations(uneven_set: Path):
    module = data(uneven_set, val=str(uneven_set), predict=str(uneven_set))
    module.setup("validate")
    records = [record for batch in module.val_dataloader() for record in batch.records]
    assert {record.image_id: len(record.annotations) for record in records if record.image_id != NO_IMAGE} == {
        1000 + number: number % 4 for number in range(43)
    }
    module.setup("predict")
    assert all(batch.targets is None for batch in module.predict_dataloader())


def test_overfitting_repeats_the_same_batches(uneven_set: Path, recording_module, trainer):
    model = recording_module()
    trainer(max_epochs=3, overfit_batches=2).fit(model, datamodule=data(uneven_set, val=str(uneven_set)))
    assert len(model.seen) == 6
    assert model.seen[:2] == model.seen[2:4] == model.seen[4:]


def test_fast_dev_run_and_sanity_check(uneven_set: Path, recording_module, trainer):
    model = recording_module()
    trainer(fast_dev_run=True).fit(model, datamodule=data(uneven_set, val=str(uneven_set)))
    assert (len(model.seen), len(model.validated)) == (1, 1)
    model = recording_module()
    trainer(max_epochs=1, num_sanity_val_steps=2).fit(model, datamodule=data(uneven_set, val=str(uneven_set)))
    assert sorted(images(model.validated[2:])) == ALL_IDS


def test_the_global_random_state_is_left_alone(uneven_set: Path):
    module = data(uneven_set, train_transforms=[Colors(brightness=0.5), VerticalFlip(), RandomAffine(30)])
    module.setup("fit")
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    list(module.train_dataloader())
    assert random.getstate() == before[0]
    assert (torch.get_rng_state() == before[1]).all()
    assert np.random.get_state()[1].tolist() == before[2]


def test_help_explains_every_option():
    parser = ArgumentParser()
    parser.add_class_arguments(DetectionDataModule, "data")
    parsed = parser.parse_args(["--data.train", "folder", "--data.shapes=[[800,1088]]", "--data.val=[a,b]"])
    assert (parsed.data.train, parsed.data.val, parsed.data.shapes) == ("folder", ["a", "b"], [[800, 1088]])
    for action in parser._actions:
        if action.dest.startswith("data."):
            assert action.help, action.dest


# Several processes, forked by Lightning from a fresh one.


@pytest.fixture
def fit_ranks(recording_module, trainer, fresh_process, tmp_path):
    """A function that fits in `world` processes; what each rank saw as (training batches, validation batches)."""

    class WritesDown(recording_module):
        def on_fit_end(self) -> None:
            torch.save((self.seen, self.validated), tmp_path / f"rank{self.global_rank}.pt")

    def run(folder: Path, world: int, options: dict, settings: dict, start: dict) -> None:
        strategy = "ddp_fork" if world > 1 else "auto"
        runner = trainer(devices=world, strategy=strategy, **options)
        runner.fit(WritesDown(), datamodule=data(folder, val=str(folder), **settings), **start)

    def fit(folder: Path, world: int, options: dict, settings: dict, **start: Any) -> list:
        if world == 1:
            run(folder, world, options, settings, start)
        else:
            process = fresh_process(run, folder, world, options, settings, start)
            process.start()
            process.join()
            assert process.exitcode == 0
        return [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(world)]

    return fit


def global_batches(ranks: list) -> list[list[int]]:
    return [list(chain(*parts)) for parts in zip(*(seen for seen, _ in ranks), strict=True)]


@pytest.mark.parametrize(("world", "num_workers"), [(2, 1), (3, 0)])
def test_ranks_see_the_epoch_of_one_process(uneven_set, fit_ranks, world, num_workers):
    options = {"max_epochs": 2}
    (alone,) = fit_ranks(uneven_set, 1, options, {"batch_size": 6})
    ranks = fit_ranks(uneven_set, world, options, {"batch_size": 6 // world, "num_workers": num_workers})
    assert global_batches(ranks) == alone[0]
    assert len({len(validated) for _, validated in ranks}) == 1
    assert Counter(image for _, validated in ranks for image in images(validated)) == Counter(ALL_IDS * 2)


@pytest.mark.end_to_end
def test_resume_on_other_numbers_of_ranks_and_workers(uneven_set, tmp_path, fit_ranks):
    """Saved at 1 x 4 workers; resumed at 2 x 1 and 3 x 2 mid-epoch. Some images occur several times."""
    sampling = RepeatFactor(1.5, epoch_size=43)
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    options = {"max_epochs": 2, "callbacks": [saver], "enable_checkpointing": True}
    whole = fit_ranks(uneven_set, 1, options, {"batch_size": 6, "num_workers": 4, "sampling": sampling})
    assert max(Counter(images(whole[0][0][:7])).values()) > 1
    for world, num_workers, step in ((2, 1, 3), (3, 2, 9)):
        settings = {"batch_size": 6 // world, "num_workers": num_workers, "sampling": sampling}
        ranks = fit_ranks(uneven_set, world, {"max_epochs": 2}, settings, ckpt_path=tmp_path / f"step={step}.ckpt")
        assert global_batches(ranks) == whole[0][0][step:]


@pytest.mark.slow
def test_no_combination_of_ranks_workers_and_shards_hangs(make_set, tmp_path, fit_ranks):
    chance = random.Random(0)
    for number in range(40):
        world, num_workers, batch_size = chance.choice([2, 3, 4, 5]), chance.choice([0, 1, 2]), chance.randint(1, 4)
        shard_sizes = [chance.randint(1, 13) for _ in range(chance.randint(1, 7))]
        shard_sizes.append(max(0, world * batch_size - sum(shard_sizes)) + 1)
        folder = make_set(tmp_path / f"set{number}", shard_sizes)
        signal.alarm(120)
        settings = {"batch_size": batch_size, "num_workers": num_workers}
        ranks = fit_ranks(folder, world, {"max_epochs": 2}, settings)
        signal.alarm(0)
        batches = sum(shard_sizes) // (world * batch_size)
        assert [len(seen) for seen, _ in ranks] == [2 * batches] * world
        for epoch in range(2):
            trained = Counter(images(global_batches(ranks)[epoch * batches : (epoch + 1) * batches]))
            assert set(trained.values()) == {1}
        expected = Counter(range(1000, 1000 + sum(shard_sizes)))
        assert Counter(image for _, validated in ranks for image in images(validated)) == expected + expected
