"""From a recipe to a score, and from a study to its best trial: with played trainings, and real networks measured.

The real trainings are in test_run.py.
"""

from __future__ import annotations

import csv
import errno
import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from null_child import Played, fails
from study_maker import make_study

import model.data
import model.sources
import search.retraining.results
from model.config import DataError, DataSpec, TrainConfig, TrainError
from search.base.home import Home
from search.base.mistakes import InputError
from search.base.seeds import fresh_seed
from search.base.terminal import Output
from search.retraining.jobs import Means
from search.retraining.recipe import read_recipe, write_recipe
from search.retraining.recipes import find_recipes
from search.retraining.retrain import retrain_recipe
from search.retraining.verify import Verification, verify_study
from search.screen.outcomes import print_retrained
from search.screen.progress import Bars
from studies.record.catalog import StudyRecord, find_study, rename_study
from studies.record.retrained import Retrained, read, record, reproduced, summarised, verified
from studies.record.retrained import stretched as stretched_records
from studies.store.attributes import TRIAL_USER
from studies.store.opening import open_storage
from studies.store.storage import Storage

SYNTHETIC = functools.cache(model.sources.synthetic)
DRAW = search.retraining.results._draw
DIVERGES = fails("diverged", "The loss became nan.")


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A few small networks that take and give what an AlexNet does."""
    import keras

    from model.saved import save_model

    folder = tmp_path_factory.mktemp("networks")
    for number in range(3):
        keras.utils.set_random_seed(number)
        image = keras.Input((32, 32, 3), dtype="uint8")
        x = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 64, -2)(image))
        x = keras.layers.Dense(10, activation="softmax", kernel_initializer="he_normal")(keras.layers.Flatten()(x))
        save_model(keras.Model(image, x), folder / f"{number}.keras", tuple(map(str, range(10))))
    return sorted(folder.iterdir())


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch, networks: list[Path]) -> Played:
    def save(path: Path, seed: int) -> None:
        shutil.copyfile(networks[seed % len(networks)], path)

    played = Played(save=save, fingerprint=fingerprint())
    monkeypatch.setitem(model.data._NAMED, "synthetic", SYNTHETIC)
    monkeypatch.setattr(search.retraining.results, "_draw", lambda *_: None)  # ten pictures take two seconds
    return played


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, played: Played) -> list[int]:
    """How many trainings had begun each time the test images were opened."""
    moments: list[int] = []
    load_test = model.data.load_test

    def watched(*arguments: Any) -> Any:
        moments.append(len(played.trained))
        return load_test(*arguments)

    monkeypatch.setattr(model.data, "load_test", watched)
    return moments


@functools.cache
def fingerprint() -> str:
    return model.data.fingerprint(model.data.load_training("synthetic", Path()))


def means_of(home: Home, played: Played, **more: Any) -> Means:
    """Played trainings; and TensorFlow is at work in this process already."""
    return Means(home, start=played.start, tensorflow=lambda _home: None, **more)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def storage(home: Home) -> Storage:
    return open_storage(f"sqlite:///{home.folder / 'alexsearch.db'}")


@pytest.fixture
def study(storage: Storage) -> StudyRecord:
    return make_study(storage, 0.5, 0.7, 0.6, fingerprint=fingerprint())


@pytest.fixture
def recipe(storage: Storage, study: StudyRecord, tmp_path: Path) -> Path:
    """The best trial's recipe: trial 1, whose seed is 1."""
    write_recipe(find_recipes(storage, study.name)[0], tmp_path / "best.toml")
    return tmp_path / "best.toml"


Retrain = Callable[..., Retrained]


@pytest.fixture
def retrain(recipe: Path, home: Home, storage: Storage, tmp_path: Path, played: Played) -> Retrain:
    def run(path: Path = recipe, **changes: Any) -> Retrained:
        means = means_of(home, played, storage=storage)
        output = Output()
        with Bars(output) as view:
            asked = {"seeds": 2, "out": tmp_path / "out", "means": means, "view": view, **changes}
            outcome = retrain_recipe(read_recipe(path), **asked)
        print_retrained(output, outcome)
        return outcome.retrained

    return run


def seeds_of(played: Played) -> list[int]:
    return [config["seed"] for _, config in played.trained]


# The score


def test_networks_are_trained_on_all_images_and_only_then_the_test_set_is_opened(
    retrain: Retrain, played: Played, opened: list[int]
) -> None:
    retrained = retrain(seeds=3)
    assert (retrained.split, retrained.images, retrained.seeds) == ("test", 2000, (1, 2, 3))
    assert played.openings == ["none"]
    assert opened == [3]  # once, after the third training


def test_validate_keeps_the_searchs_split_takes_fresh_seeds_and_leaves_the_test_set_closed(
    retrain: Retrain, played: Played, opened: list[int]
) -> None:
    played.accuracy = lambda config: 0.68 if config["seed"] == fresh_seed(1, 0) else 0.70
    retrained = retrain(validate=True)
    assert (retrained.split, retrained.images) == ("validation", 1600)
    assert retrained.seeds == (fresh_seed(1, 0), fresh_seed(1, 1))
    assert retrained.scores == (0.68, 0.70)  # the search's own measure: val_accuracy after the last epoch
    assert played.openings == ["held-out"]
    assert opened == []


def test_retraining_that_fails_never_opens_the_test_set(retrain: Retrain, played: Played, opened: list[int]) -> None:
    played.trouble = lambda config, _attempt: DIVERGES if config["seed"] == 2 else None
    with pytest.raises(TrainError, match=r"trial 1, seed 2 diverged: The loss became nan\."):
        retrain()
    assert opened == []


def test_what_it_came_to_is_said_plainly(retrain: Retrain, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    retrained = retrain(seeds=3)
    out = capsys.readouterr().out
    assert retrained.in_words() in out.splitlines()
    assert re.search(r"the mean lies between -?0\.\d{4} and 0\.\d{4} \(95%, Student's t\)", out)
    assert f"next: alexsearch evaluate {tmp_path / 'out' / 'best.keras'} --data synthetic" in out
    assert "written to study small in sqlite" in out


def test_one_seed_says_that_it_has_no_interval(retrain: Retrain, capsys: pytest.CaptureFixture[str]) -> None:
    assert retrain(seeds=1).interval is None
    assert "one seed has no spread and no interval: use --seeds 3 or more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.68, 0.72), "Yes: the search's 0.7000 lies within"),
        ((0.40, 0.41), "No: the search's 0.7000 is more than what a fresh seed gives"),
        ((0.90, 0.91), "No: the search's 0.7000 is less than"),
        ((0.65, 0.65), "All 2 seeds came to 0.6500, the search had 0.7000"),
        ((0.65,), "One seed can't tell: it came to 0.6500, the search had 0.7000"),
    ],
)
def test_whether_it_reproduces_is_answered(
    retrain: Retrain, played: Played, capsys: pytest.CaptureFixture[str], scores: tuple[float, ...], said: str
) -> None:
    by_seed = {fresh_seed(1, place): score for place, score in enumerate(scores)}
    played.accuracy = lambda config: by_seed[config["seed"]]
    retrain(validate=True, seeds=len(scores))
    assert f"does it reproduce? {said}" in capsys.readouterr().out


# What it leaves


def test_folder_holds_models_metrics_curves_and_figures(
    retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.retraining.results, "_draw", DRAW)
    retrained = retrain(seeds=3)
    out = tmp_path / "out"
    document = json.loads((out / "metrics.json").read_text())
    assert [seed["accuracy"] for seed in document["seeds"]] == list(retrained.scores)
    assert document["interval"] == list(retrained.interval or ())
    best = document["seeds"][document["best_seed"]]
    assert best["accuracy"] == max(retrained.scores)
    assert (out / "best.keras").read_bytes() == (out / best["model"]).read_bytes()
    assert sum(map(sum, best["confusion"])) == document["measured_images"] == 500
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [float(row["accuracy"]) for row in rows] == list(retrained.scores)
    assert [row["best"] for row in rows].count("True") == 1
    assert float(rows[0]["accuracy of 3"]) == document["seeds"][0]["class_accuracy"]["3"]
    curves = list(csv.DictReader((out / "curves.csv").open()))
    assert [(row["seed"], row["epoch"]) for row in curves[:4]] == [("1", "1"), ("1", "2"), ("1", "3"), ("2", "1")]
    for name in ("loss", "accuracy", "score", "class_accuracy", "confusion"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / f"{name}.svg").read_text()
    assert "Plotly.newPlot" in (out / "index.html").read_text()
    assert not list(out.glob("checkpoints"))


def test_interrupted_retraining_goes_on_and_more_seeds_are_added(retrain: Retrain, played: Played) -> None:
    def interrupt() -> None:
        if len(played.trained) == 2:
            raise KeyboardInterrupt

    played.gate = interrupt
    with pytest.raises(KeyboardInterrupt):
        retrain()
    played.gate = lambda: None
    first = retrain()
    assert seeds_of(played) == [1, 2, 2]
    assert retrain(seeds=3).scores[:2] == first.scores
    assert seeds_of(played) == [1, 2, 2, 3]


@pytest.mark.parametrize("file", ["metrics.json", "curves.csv", "index.html"])
def test_full_disk_is_one_message_and_the_earlier_results_stay_whole(
    retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    retrain(seeds=1)
    out = tmp_path / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write_text = Path.write_text

    def half(self: Path, text: str, encoding: str) -> int:
        if Path(file).stem not in self.name:
            return write_text(self, text, encoding)
        write_text(self, text[: len(text) // 2], encoding)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match=r"out: the results can't be written \(No space left on device\)\. The trained"):
        retrain(seeds=2)
    assert (out / file).read_bytes() == before[file]
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]
    monkeypatch.setattr(Path, "write_text", write_text)
    retrain(seeds=2)
    assert len(json.loads((out / "metrics.json").read_text())["seeds"]) == 2


def test_full_disk_while_recording_a_seed_leaves_what_was_trained_before(
    retrain: Retrain, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text = Path.write_text

    def full(self: Path, text: str, encoding: str) -> int:
        if "seed-1" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, text, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"seed-1\.json: can't be written \(No space left on device\)"):
        retrain()
    monkeypatch.setattr(Path, "write_text", write_text)
    retrain()
    assert seeds_of(played) == [1, 2, 2]


def test_folder_of_another_recipe_is_refused(retrain: Retrain, storage: Storage, tmp_path: Path) -> None:
    retrain()
    write_recipe(find_recipes(storage, "small", 0)[0], tmp_path / "other.toml")
    with pytest.raises(InputError, match=r"holds the retraining of another recipe.*--out"):
        retrain(tmp_path / "other.toml")
    with pytest.raises(InputError, match=r"holds trainings on all training images.*--out"):
        retrain(validate=True)


def test_damaged_network_is_named_with_the_way_out(retrain: Retrain, tmp_path: Path) -> None:
    retrain()
    model = tmp_path / "out" / "seed-1.keras"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"seed-1\.keras .*Delete it, and run the same command again"):
        retrain()


def test_same_recipe_as_json_retrains_the_same(retrain: Retrain, storage: Storage, tmp_path: Path) -> None:
    write_recipe(find_recipes(storage, "small")[0], tmp_path / "best.json")
    assert retrain(tmp_path / "best.json").seeds == (1, 2)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["told"] == []


# Written back to the study


def test_score_is_kept_with_the_study_it_came_from_whatever_that_is_called(
    retrain: Retrain, storage: Storage, recipe: Path
) -> None:
    recipe.write_text(recipe.read_text().replace('study = "small"', 'study = "renamed"'))
    retrained = retrain()
    found = find_study(storage, "small")
    assert read(found) == {1: retrained}
    assert retrained.folder
    assert Path(retrained.folder, "index.html").exists()
    on_validation = retrain(validate=True, out=None)
    assert reproduced(find_study(storage, "small")) == {1: on_validation}
    assert read(find_study(storage, "small")) == {1: retrained}


def edited(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("batch_size = 32", "batch_size = 64"))


def of_nobody(recipe: Path) -> None:
    recipe.write_text(re.sub(r"study_uid = .*\n", "", recipe.read_text()))


def of_another(recipe: Path) -> None:
    recipe.write_text(re.sub(r"study_uid = .*\n", 'study_uid = "another"\n', recipe.read_text()))


def on_other_images(recipe: Path) -> None:
    text = recipe.read_text()
    other = text.replace(fingerprint(), "sha256:other")
    digest = re.search(r'digest = "(\w+)"', text)
    assert digest
    data = DataSpec(source="synthetic", validation_images=400)
    config = TrainConfig(batch_size=32, learning_rate=0.02, epochs=3, seed=1, precision="float32")
    from search.retraining.recipe import essence_digest

    recipe.write_text(other.replace(digest[1], essence_digest(config, data, "sha256:other")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edited, "the recipe was edited, so the score is not its trial's"),
        (of_nobody, "the recipe does not say which it is of"),
        (of_another, "small is not in sqlite"),
        (on_other_images, "the images are not those of the search"),
    ],
)
def test_score_that_is_not_the_trials_is_not_kept_and_that_is_said(
    retrain: Retrain,
    storage: Storage,
    recipe: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    why: str,
) -> None:
    change(recipe)
    retrain()
    assert f"not written to a study: {why}" in capsys.readouterr().out
    assert read(find_study(storage, "small")) == {}


def test_edit_and_other_images_are_told_beside_the_score(
    retrain: Retrain, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    edited(recipe)
    retrain()
    told = "The recipe was edited since its export: its searched score was measured with other values."
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "out" / "index.html").read_text()


def test_without_a_database_the_score_is_in_the_folder_only(
    retrain: Retrain, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, played: Played
) -> None:
    retrain(means=means_of(home, played))
    assert "not written to a study: there is no database here" in capsys.readouterr().out
    assert (tmp_path / "out" / "metrics.json").exists()


# Verify


@pytest.fixture
def verify(home: Home, storage: Storage, study: StudyRecord, played: Played) -> Callable[..., Verification]:
    def run(**changes: Any) -> Verification:
        means = means_of(home, played, storage=storage)
        output = Output()
        with Bars(output) as view:
            asked = {"top": 3, "seeds": 2, "out": None, "means": means, "view": view, **changes}
            found = verify_study(storage, study.name, **asked)
        print_retrained(output, found.outcome)
        return found

    return run


def fresh(*by_trial: float) -> Callable[[Any], float]:
    """The accuracy of trial n's fresh seeds: its own value, and 0.01 more for the second."""
    scores = {
        fresh_seed(trial, place): value + 0.01 * place for trial, value in enumerate(by_trial) for place in range(2)
    }
    return lambda config: scores[config["seed"]]


def test_best_on_fresh_seeds_is_picked_not_the_best_of_the_search(
    verify: Callable[..., Verification], played: Played, storage: Storage, opened: list[int]
) -> None:
    played.accuracy = fresh(0.3, 0.5, 0.6)
    found = verify()
    assert found.verified.candidates == (2, 1, 0)
    assert (found.verified.picked, found.verified.second, found.verified.told_apart) == (2, 1, True)
    assert (
        "Trial 2 is picked: it can be told from trial 1, the second (Welch's t-test, 2 fresh seeds each" in found.text
    )
    assert opened == [3 * 2 + 2]  # the test set, once, when the picked one's two networks were trained
    study = find_study(storage, "small")
    assert verified(study) == found.verified
    assert {trial: one.mean for trial, one in reproduced(study).items()} == pytest.approx(
        {0: 0.305, 1: 0.505, 2: 0.605}
    )
    assert {trial: one.split for trial, one in read(study).items()} == {0: "validation", 1: "validation", 2: "test"}


def test_no_seed_of_a_verification_was_the_searchs_nor_is_used_twice(
    verify: Callable[..., Verification], played: Played
) -> None:
    verify()
    seeds = seeds_of(played)
    assert len(set(seeds)) == len(seeds) == 8
    assert not set(seeds) & {0, 1, 2}
    assert played.openings == ["held-out", "none"]


def test_first_and_second_that_can_not_be_told_apart_are_said_to_be_so(
    verify: Callable[..., Verification], played: Played
) -> None:
    played.accuracy = fresh(0.3, 0.501, 0.5)
    found = verify()
    assert (found.verified.picked, found.verified.told_apart) == (1, False)
    assert found.verified.p_value == pytest.approx(1 - 0.1414 / 2.02**0.5, abs=1e-3)  # t = 0.1414, 2 degrees of freedom
    assert "it can't be told from trial 2" in found.text


def test_one_seed_or_one_trial_leaves_nothing_to_tell_apart(verify: Callable[..., Verification]) -> None:
    found = verify(seeds=1)
    assert found.verified.p_value is None
    assert "can't be told from one seed each" in found.text
    found = verify(top=1)
    assert found.verified.second is None
    assert "there was no other to compare it with" in found.text


def test_trial_whose_fresh_seed_diverges_is_not_picked(
    verify: Callable[..., Verification], played: Played, tmp_path: Path
) -> None:
    played.trouble = lambda config, _attempt: DIVERGES if config["seed"] == fresh_seed(1, 0) else None
    found = verify()
    assert found.verified.picked != 1
    assert found.candidates[-1].failure.endswith("diverged: The loss became nan.")
    played.trouble = lambda _config, _attempt: DIVERGES
    with pytest.raises(TrainError, match="none of the trials can be trained again"):
        verify(out=tmp_path / "elsewhere")


def test_verification_with_more_seeds_trains_only_those_that_are_missing(
    verify: Callable[..., Verification], played: Played
) -> None:
    played.accuracy = fresh(0.3, 0.5, 0.6)
    verify(seeds=1)
    assert len(played.trained) == 3 + 1
    found = verify(seeds=2)
    assert len(played.trained) == 2 * (3 + 1)
    assert len(found.outcome.retrained.seeds) == 2


def test_verification_whose_files_can_not_be_kept_beside_the_study_says_so_and_ends_well(
    verify: Callable[..., Verification], played: Played, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.artifacts.write_text("a file in the way")
    played.accuracy = fresh(0.3, 0.5, 0.6)
    assert verify().verified.picked == 2
    assert "can't be kept beside it: [Errno" in capsys.readouterr().out


def test_interrupted_verification_goes_on(verify: Callable[..., Verification], played: Played) -> None:
    def interrupt() -> None:
        if len(played.trained) in (3, 9):
            raise KeyboardInterrupt

    played.gate = interrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            verify()
    verify()
    assert len(played.trained) == 8 + 2  # each interrupted training once more


def test_page_and_metrics_say_how_it_was_chosen(verify: Callable[..., Verification], played: Played) -> None:
    played.accuracy = fresh(0.3, 0.5, 0.6)
    found = verify()
    folder = Path(found.outcome.retrained.folder or "")
    comparison = json.loads((folder / "metrics.json").read_text())["comparison"]
    assert [row["trial"] for row in comparison["candidates"]] == [2, 1, 0]
    page = (folder / "index.html").read_text()
    assert "How it was chosen" in page
    assert "0.6050" in page


def test_score_of_many_more_images_is_no_measure_of_optimism_and_says_where_that_is(
    verify: Callable[..., Verification], played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.retraining.results, "MANY_MORE", 1.2)  # all 2,000 images are 1.25 times the search's
    played.accuracy = fresh(0.3, 0.5, 0.55)
    (told,) = verify().outcome.document["told"]
    assert told.startswith("Trained on 2,000 images, in the search on 1,600: that raises the score")
    assert told.endswith("On the search's own images it was +0.0450.")


def test_other_images_can_not_verify_a_study(verify: Callable[..., Verification], home: Home, played: Played) -> None:
    with pytest.raises(InputError, match="digits is not the data of study 'small'"):
        verify(means=means_of(home, played, source="digits"))
    assert not played.trained


def test_trials_that_differ_in_the_seed_alone_are_one_candidate(
    verify: Callable[..., Verification], storage: Storage, study: StudyRecord
) -> None:
    trial_id = storage.get_trial_id_from_study_id_trial_number(study.study_id, 2)
    config = {**storage.get_trial(trial_id).user_attrs["config"], "learning_rate": 0.02}  # that of trial 1
    storage.engine.dispose()
    storage.transaction(lambda session: TRIAL_USER.write(session, trial_id, {"config": config}))
    assert verify().verified.candidates in {(0, 1), (1, 0)}


def test_test_set_that_was_opened_for_another_trial_is_mentioned(
    verify: Callable[..., Verification], played: Played, storage: Storage, study: StudyRecord
) -> None:
    played.accuracy = fresh(0.3, 0.5, 0.6)
    scores = {1: 0.6}
    earlier = summarised(
        trial=0, searched=0.5, split="test", scores=scores, images=2000, finished="2026-01-31T12:00:00Z"
    )
    record(storage, study, earlier)
    assert "The test set was opened for trial 0 of this study before" in verify().text


def test_what_is_quiet_prints_nothing_and_gives_the_same(
    study: StudyRecord, home: Home, storage: Storage, played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    means = means_of(home, played, storage=storage)
    recipe = find_recipes(storage, study.name)[0]
    outcome = retrain_recipe(recipe, seeds=1, out=tmp_path / "out", means=means)
    found = verify_study(storage, study.name, top=2, seeds=1, out=None, means=means)
    assert outcome.written.startswith("written to study small")
    assert (found.outcome.folder / "index.html").exists()
    assert capsys.readouterr().out == ""


# Data without a test set, or with a validation set of its own


@pytest.fixture
def untested(tmp_path: Path, played: Played) -> str:
    """A `.npz` with training and validation images of synthetic and no test set."""
    images = model.data.load_training("synthetic", tmp_path)
    path = tmp_path / "untested.npz"
    np.savez(
        path,
        x_train=images.images[:600],
        y_train=images.labels[:600],
        x_val=images.images[600:],
        y_val=images.labels[600:],
    )
    played.fingerprint = model.data.fingerprint(model.data.load_training(str(path), tmp_path))
    return str(path)


def test_without_a_test_set_nothing_is_trained_for_it(
    retrain: Retrain, home: Home, played: Played, storage: Storage, untested: str
) -> None:
    with pytest.raises(DataError, match=r"untested.npz has no test set: .* alexsearch retrain --validate"):
        retrain(means=means_of(home, played, storage=storage, source=untested))
    assert not played.trained


def test_own_validation_set_is_what_a_retraining_with_validate_measures_on(
    retrain: Retrain, home: Home, played: Played, untested: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(means=means_of(home, played, source=untested), validate=True)
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert document["measured_images"] == 1400
    told = capsys.readouterr().out
    assert "its own 1,400 validation images are used, and nothing is held out" in told
    assert "it has no test set" in told


def test_verify_says_before_it_trains_that_there_is_no_test_set(
    verify: Callable[..., Verification], home: Home, played: Played, storage: Storage, untested: str
) -> None:
    with pytest.raises(DataError, match=r"untested.npz has no test set"):
        verify(means=means_of(home, played, storage=storage, source=untested))
    assert not played.trained


def test_retraining_of_a_renamed_study_is_found_again_by_a_recipe_of_either_name(
    retrain: Retrain, storage: Storage, study: StudyRecord, home: Home, tmp_path: Path, played: Played
) -> None:
    before = retrain(out=None)
    rename_study(storage, study.study_id, "b")
    write_recipe(find_recipes(storage, "b")[0], tmp_path / "b.toml")
    trained = len(played.trained)
    for again in (retrain(out=None), retrain(tmp_path / "b.toml", out=None)):
        assert again.scores == before.scores
    assert len(played.trained) == trained
    assert not home.study("b").exists()


def test_recipe_stretched_to_more_epochs_says_so_and_is_kept_apart(
    retrain: Retrain, home: Home, storage: Storage, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = find_recipes(storage, None)[0]
    asked: dict[str, Any] = {"out": None, "seeds": 1}
    plain, stretched = retrain(**asked), retrain(**asked, epochs=2 * recipe.config.epochs)
    printed = " ".join(capsys.readouterr().out.split())
    assert [config["epochs"] for _, config in played.trained] == [recipe.config.epochs, 2 * recipe.config.epochs]
    assert (plain.stretched, stretched.stretched) == (None, 2 * recipe.config.epochs)
    assert f"from {recipe.config.epochs} to {2 * recipe.config.epochs} epochs" in printed
    assert "apart from what its trials came to as they were searched" in printed
    folder = home.retrain(recipe.study, recipe.trial)
    long = folder.with_name(f"{folder.name}-{stretched.stretched}-epochs")
    document = json.loads((long / "metrics.json").read_text())
    assert document["config"]["epochs"] == stretched.stretched
    assert document["stretched_from"] == recipe.config.epochs
    assert "Stretched from" in (long / "index.html").read_text()
    assert json.loads((folder / "metrics.json").read_text())["stretched_from"] is None
    study = find_study(storage, None)
    assert read(study) == {recipe.trial: plain}
    assert stretched_records(study) == [stretched]
    with pytest.raises(InputError, match="holds trainings on another configuration"):
        retrain(**{**asked, "out": long})


def test_stretched_to_its_own_epochs_is_the_same_retraining(retrain: Retrain, storage: Storage) -> None:
    epochs = find_recipes(storage, None)[0].config.epochs
    assert retrain(seeds=1, epochs=epochs).stretched is None
    assert stretched_records(find_study(storage, None)) == []


def test_trials_stretched_alike_are_compared_and_conclude_nothing_about_the_search(
    verify: Callable[..., Verification], storage: Storage, study: StudyRecord, played: Played
) -> None:
    found = verify(top=2, seeds=2, epochs=8)
    assert {config["epochs"] for _, config in played.trained} == {8}
    assert found.outcome.retrained.stretched == 8
    after = find_study(storage, study.name)
    assert verified(after) is None
    assert read(after) == {}
    assert sorted(one.split for one in stretched_records(after)) == ["test", "validation", "validation"]
