"""A study of a training of one's own, wherever it is shown: its own metric, which is minimised, and its own parameters.

Nothing that is a network's on images appears beside it: no accuracy, no percent of one, no batch size, no paper.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from optuna.study import StudyDirection
from PIL import Image
from study_maker import OWN_DATA, OWN_SPACE, make_own_study, make_study
from test_dashboard import LOCAL, request
from test_report import Page

from model.config import Failure, TrainConfig
from search.base.artifacts import Artifacts
from search.base.configs import short
from search.base.terminal import Output
from search.cli.main import main
from search.retraining.view import Job, Trained
from search.run.events import Begun, Completed, EpochDone, Event, Happening, Pruned
from search.screen.live import Screen
from search.screen.progress import Bars
from search.screen.reporting import _without_folder, study_figure
from search.screen.watching import look, view
from search.space.own import OwnConfig, OwnEpoch
from search.training.messages import Epoch, Started
from search.training.places import Place
from studies.draw.study_figures import FIGURES
from studies.queue.limits import Limits
from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.audit import judge
from studies.record.catalog import StudyRecord, best_over_time, best_trial, find_study, open_study, top_trials
from studies.record.findings import findings_of
from studies.record.metric import Metric
from studies.record.retrained import record, reproduces, summarised
from studies.show.dashboard import build_app
from studies.show.notes import study_note
from studies.store.opening import open_storage
from studies.store.storage import Storage
from studies.words import parameter, why

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

RMSE = Metric("rmse", "minimize")
NOT_ITS = re.compile(r"accura|images|batch_size|learning_rate|0\.7081|the report of|report, 2022|\d%", re.IGNORECASE)
"""What is an AlexNet's alone."""
SHARES = re.compile(r"\(\d+%\)|\d+% of what it would have been|\d s \d+%")
"""Of device time, which stay percent."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that has the study, which the tests only read."""
    url = f"sqlite:///{tmp_path_factory.mktemp('own') / 'alexsearch.db'}"
    storage = open_storage(url)
    make_own_study(storage)
    storage.engine.dispose()
    return url


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    storage = open_storage(url)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def study(storage: Storage) -> StudyRecord:
    return find_study(storage, "own")


@pytest.fixture
def app(storage: Storage) -> WSGIApplication:
    return build_app(storage, hosts=LOCAL)


def without_what_is_not_its(text: str) -> str:
    """The text, once it is known to hold nothing of a network on images."""
    assert (found := NOT_ITS.search(SHARES.sub("", text))) is None, text[max(0, found.start() - 200) : found.end() + 80]
    return text


def command(url: str, *arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--storage", url])
    assert result.exit_code == 0, result.output
    return result.output


def shown(app: WSGIApplication, path: str) -> str:
    """What a reader sees of a page, its charts' readings included."""
    status, _, body = request(app, path)
    assert status == 200
    page = re.sub(r"<(script|style).*?</\1>", "", body.decode(), flags=re.DOTALL)
    # Places in a chart are percent of its area, and no values.
    page = re.sub(r'\b(x|y|x1|x2|y1|y2|width|height|style)="[^"]*%[^"]*"', "", page)
    return without_what_is_not_its(unescape(page))


def test_study_is_made_with_the_direction_and_the_name_of_its_metric(storage: Storage, study: StudyRecord) -> None:
    assert study.is_ours
    assert study.metric == RMSE
    assert storage.get_study_directions(study.study_id) == [StudyDirection.MINIMIZE]
    assert storage.get_study_system_attrs(study.study_id)["study:metric_names"] == ["rmse"]


def test_study_that_another_process_made_for_something_else_gets_the_direction_too(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    storage.create_new_study([StudyDirection.MAXIMIZE], "own")
    study, made = open_study(storage, "own", {"space": OWN_SPACE, "data": OWN_DATA})
    assert made
    assert study.directions == (StudyDirection.MINIMIZE,)
    assert study.metric == RMSE


def test_best_is_the_smallest(storage: Storage, study: StudyRecord) -> None:
    assert best_trial(storage, study).number == 1
    assert [trial.number for trial in top_trials(storage, study, 5)] == [1, 0, 4]
    assert best_over_time(storage, study) == [0.75, 0.250125, 0.250125]
    found = findings_of(storage, study)
    assert found.best is not None
    assert found.best.number == 1
    assert found.question == ("Which lr, layers, use_bn, optimizer and momentum give train.py:fit its lowest rmse?")


@pytest.mark.parametrize(("target", "reached"), [(0.3, True), (0.25, False)])
def test_target_is_reached_from_above(tmp_path: Path, target: float, reached: bool) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    queue = Queue(storage, make_own_study(storage).study_id)
    queue.begin(Limits(target=target))
    assert queue.stopped_by() == ("target 0.3 is reached: trial 1 has 0.2501" if reached else None)


def test_audit_asks_whether_a_pruned_trial_would_have_been_among_the_smallest(
    storage: Storage, study: StudyRecord
) -> None:
    trials = storage.get_all_trials(study.study_id)
    trials[2].user_attrs["audit"] = {"value": 0.2, "epochs": 3}
    found = judge(trials, study.metric)
    assert found is not None
    assert (found.best, found.best_tenth, found.wrong, found.better) == (0.250125, 0.250125, 1, 1)
    trials[2].user_attrs["audit"] = {"value": None, "epochs": 3}
    diverged = judge(trials, study.metric)
    assert diverged is not None
    assert (diverged.wrong, diverged.better) == (0, 0)


def test_list_of_studies_names_the_metric(app: WSGIApplication) -> None:
    page = shown(app, "/")
    assert "searches lr, layers, use_bn, optimizer and momentum of train.py:fit for the lowest rmse" in page
    assert "0.2501" in page
    assert "best rmse" in page


def test_study_page_shows_metric_parameters_and_charts(app: WSGIApplication) -> None:
    page = shown(app, "/studies/1")
    assert "Best rmse" in page
    assert "0.2501" in page
    assert '<th scope="col" class="number">rmse</th>' in page
    assert "optimizer</span> adam" in page
    assert "use_bn</span> no" in page
    assert "best so far: 0.2501" in page
    assert "images/s" not in page


def test_order_by_best_begins_with_the_smallest(app: WSGIApplication) -> None:
    page = shown(app, "/studies/1?order=best&state=complete")
    assert re.findall(r'<tr data-key="(\d)"', page) == ["1", "0", "4"]


def test_trial_page_has_a_chart_for_whatever_was_reported(app: WSGIApplication) -> None:
    page = shown(app, "/studies/1/trials/0")
    titles = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", page, re.DOTALL)
    assert [re.sub("<.*?>", "", title).strip() for title in titles] == ["rmse", "loss", "Seconds per epoch"]
    for heading in ("Epoch", "rmse", "loss", "val_loss", "Seconds"):
        assert f'<th scope="col">{heading}</th>' in page
    assert "+0.4999 against the best" in page
    for name, value in (("lr", "0.01"), ("momentum", "0.5"), ("clip", "5"), ("rounds", "3"), ("seed", "0")):
        assert f"<dt>{name}</dt><dd>{value}" in page


def test_trial_without_the_conditional_parameter_does_not_name_it(app: WSGIApplication) -> None:
    page = shown(app, "/studies/1/trials/1")
    assert "momentum" not in page
    assert "the best of the study" in page


@pytest.mark.parametrize("number", [2, 3, 5, 6])
def test_trials_that_did_not_complete_have_their_page(app: WSGIApplication, number: int) -> None:
    page = shown(app, f"/studies/1/trials/{number}")
    assert {2: "epoch 1 of 3 at 3:", 3: "the rmse became NaN", 5: "1 of 3 epochs", 6: "Waits"}[number] in page


@pytest.mark.parametrize(
    ("asked", "title"), [("", "rmse"), ("rmse", "rmse"), ("val_loss", "val_loss"), ("val_accuracy", "rmse")]
)
def test_trials_are_compared_by_what_they_reported(app: WSGIApplication, asked: str, title: str) -> None:
    page = shown(app, f"/studies/1/compare?trial=1&trial=4&metric={asked}".removesuffix("&metric="))
    assert re.search(rf"<figcaption[^>]*>\s*{title}\s*<", page)
    choices = re.search(r'aria-label="What is compared">(.*?)</nav>', page, re.DOTALL)
    assert choices is not None
    assert re.findall(r">([^<]+)</a>", choices[1]) == ["rmse", "loss", "val_loss", "seconds per epoch"]


def test_best_page_is_of_the_smallest(app: WSGIApplication) -> None:
    page = shown(app, "/studies/1/best")
    assert 'href="/studies/1/trials/1"' in page
    assert "\N{MINUS SIGN}0.4999 against the second" in page
    assert "chosen as the lowest of many: expect a little more" in page


def test_report_names_metric_and_training(url: str, tmp_path: Path) -> None:
    command(url, "report", "--study", "own", "-o", str(tmp_path / "report.html"))
    page = Page((tmp_path / "report.html").read_text())
    text = without_what_is_not_its(page.text)
    assert "Which lr, layers, use_bn, optimizer and momentum give train.py:fit its lowest rmse?" in text
    assert "best rmse 0.2501 trial 1" in text
    assert "Trial 1 came to rmse 0.2501 with" in text
    assert "It is the lowest of 3 values" in text
    assert "trial state rmse epochs run took lr layers" in text
    assert 'function = "train.py:fit"' in text
    assert 'momentum = { low = 0.0, high = 0.99, when = { optimizer = ["sgd"] } }' in text


def test_report_of_a_study_hides_where_the_training_lies() -> None:
    train = {"function": "/home/me/train.py:fit", "python": "/home/me/env/bin/python"}
    hidden = _without_folder({"train": train, "space": {"lr": 0.1}})
    assert hidden == {"train": {"function": "train.py:fit", "python": "python"}, "space": {"lr": 0.1}}
    beside = {"command": ["./train", "/srv/data/part", "--fast"]}
    assert _without_folder({"train": beside})["train"] == {"command": ["./train", "part", "--fast"]}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_have_the_metric_on_their_axes_and_no_percent(storage: Storage, name: str) -> None:
    drawn = json.loads(study_figure(storage, "own", name).to_json())
    values = {key: text for key, text in _texts(drawn["layout"]) if key == "tickformat" and text}
    assert values == ({"tickformat": ".0%"} if name == "importances" else {})
    assert "accuracy" not in json.dumps(drawn).lower()
    assert "%}" not in json.dumps([trace.get("hovertemplate", "") for trace in drawn["data"]])
    if name in ("learning-curves", "history", "seconds", "pruning"):
        assert drawn["layout"]["yaxis"]["title"]["text"] == "rmse"
    if name == "history":
        best = next(trace for trace in drawn["data"] if trace["name"].startswith("best so far"))
        assert best["name"] == "best so far: 0.2501"
        assert best["y"] == [0.75, 0.250125, 0.250125]
    if name == "seconds":
        assert next(trace["y"] for trace in drawn["data"] if trace["name"] == "best for the time")[-1] == 0.250125
    if name == "slices":
        assert drawn["layout"]["title"]["text"] == "rmse against each parameter"
        assert next(trace["y"] for trace in drawn["data"] if trace["marker"]["size"] == 12) == [0.250125]
    if name == "parallel-coordinates":
        assert drawn["data"][0]["dimensions"][-1]["label"] == "rmse"
        assert drawn["data"][0]["line"]["reversescale"]


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, name)
    elif isinstance(value, str):
        yield key, value


def test_picture_and_note_can_be_had(url: str, storage: Storage, study: StudyRecord, tmp_path: Path) -> None:
    command(url, "report", "--study", "own", "-o", str(tmp_path / "own.svg"))
    note = without_what_is_not_its(study_note(findings_of(storage, study)))
    assert "its lowest rmse?" in note
    assert "| best | **0.2501** rmse, trial 1: lr 0.02, layers 2, use_bn False, optimizer adam |" in note
    assert "| training | train.py:fit |" in note
    assert "| momentum | 0 to 0.99, where optimizer is sgd |" in note
    assert "| fixed | clip 5, where optimizer is sgd, rounds 3 |" in note


def test_artifacts_are_the_trials_own_curves(storage: Storage, study: StudyRecord, tmp_path: Path) -> None:
    from optuna.artifacts import get_all_artifact_meta

    artifacts = Artifacts(storage, tmp_path)
    trial = best_trial(storage, study)
    kept = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(trial, storage=storage)}
    assert Image.open(artifacts.open_reader(kept["curves.png"])).size == (1280, 576)
    rows = list(csv.DictReader(io.StringIO(artifacts.open_reader(kept["epochs.csv"]).read().decode())))
    assert list(rows[0]) == ["epoch", "rmse", "loss", "val_loss", "seconds"]
    assert rows[-1] == {"epoch": "3", "rmse": "0.250125", "loss": "0.5", "val_loss": "0.625", "seconds": "2.0"}


def test_status_names_the_metric(url: str) -> None:
    text = without_what_is_not_its(command(url, "status"))
    assert "best: trial 1, rmse 0.2501 (lr 0.02, layers 2, use_bn False, optimizer adam)" in text
    assert re.search(r"^ *host +where +trial +epoch +last sign of life", text, re.MULTILINE)


def test_best_is_a_table_of_what_was_searched(url: str) -> None:
    text = without_what_is_not_its(command(url, "best"))
    assert "study own: trial 1, rmse 0.2501" in text
    assert re.search(r"^ *optimizer +adam$", text, re.MULTILINE)
    assert re.search(r"^ *trial +rmse +took +lr +layers +use_bn +optimizer +momentum", text, re.MULTILINE)
    assert re.search(r"^ *1 +0\.2501 +6 s +0\.02 +2 +False +adam +-$", text, re.MULTILINE)
    assert re.search(r"^ *4 +12\.5 +6 s +0\.05 +1 +True +sgd +0\.5$", text, re.MULTILINE)


def test_export_says_the_value_by_its_metric(url: str, tmp_path: Path) -> None:
    said = without_what_is_not_its(command(url, "export", "--study", "own", "-o", str(tmp_path / "best.toml")))
    assert said.startswith("trial 1 of study own, rmse 0.2501: ")


def test_documents_name_metric_and_direction(url: str) -> None:
    measure = {"trains": "train.py:fit", "metric": "rmse", "direction": "minimize"}
    for document in (
        json.loads(command(url, "studies", "--json"))[0],
        json.loads(command(url, "status", "--json")),
        json.loads(command(url, "best", "--json")),
    ):
        assert document | measure == document
        assert document.get("value", (document.get("best") or {}).get("value")) == 0.250125


def test_document_of_an_alexnet_has_the_keys_that_it_had(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    make_study(open_storage(url), 0.5)
    assert list(json.loads(command(url, "studies", "--json"))[0]) == ["study", "ours", "budget", "counts", "best"]


def test_table_of_studies_with_several_metrics_says_whose_value_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    make_own_study(storage)
    assert re.search(r"^ *study +settled +best rmse +trial", command(url, "studies"), re.MULTILINE)
    make_study(storage, 0.5)
    both = command(url, "studies")
    assert re.search(r"^ *own +5/7 +0\.2501 rmse +1", both, re.MULTILINE)
    assert re.search(r"^ *small +1/4 +0\.5000 val_accuracy +0", both, re.MULTILINE)


class Recorded(Output):
    def __init__(self, width: int = 160) -> None:
        super().__init__()
        self.file = self.text = io.StringIO()
        self.width = width


def test_live_screen_follows_the_metric_down(study: StudyRecord) -> None:
    console, place = Recorded(), Place(0, "cpu")
    screen = Screen(console)
    screen.before((0.5, 9), [0.5], 0.0)
    screen.opened(study, [place], Counts(waiting=5, running=1, complete=1, pruned=0, failed=0, retried=0))
    config = OwnConfig(params={"lr": 0.02, "layers": 2, "use_bn": True}, epochs=3, seed=1)
    told: list[Happening] = [
        Begun(config),
        EpochDone(OwnEpoch(epoch=1, values={"rmse": 0.75, "loss": 2.0}, seconds=1.0), 3),
    ]
    for what in told:
        screen.event(Event(place, 1, what))
    console.print(screen._table())
    for what in (Completed(0.75, 3.0), Begun(config), Completed(0.25, 3.0), Begun(config), Pruned("pruned", 1.0)):
        screen.event(Event(place, 1, what))
    text = without_what_is_not_its(console.text.getvalue())
    assert "; train.py:fit; 1 worker on cpu" in text
    assert "trial 1 started: lr 0.02, layers 2, use_bn True" in text
    assert "trial 1 epoch 1/3 rmse 0.75" in text
    assert re.search(r"cpu +1 +1/3 +0\.75 +lr 0\.02, layers 2, use_bn True", text)
    assert "trial 1 complete rmse 0.75 in 3 s; best 0.5 (trial 9)" in text
    assert "trial 1 complete rmse 0.25 in 3 s; best 0.25 (trial 1)" in text


def test_watching_says_the_metric(storage: Storage) -> None:
    latest, console = look(storage, "own"), Recorded()
    console.print(view(latest, console))
    text = without_what_is_not_its(console.text.getvalue() + latest.line)
    assert "best rmse 0.2501" in text
    assert "best 0.2501 (trial 1)" in text


def test_training_beside_the_queue_shows_whatever_it_reported(tmp_path: Path) -> None:
    console = Recorded()
    config = TrainConfig(batch_size=32, learning_rate=0.1, epochs=1)  # of a job, whatever it trains
    epoch = OwnEpoch(epoch=1, values={"rmse": 0.75, "val_accuracy": 0.5}, seconds=1.0)
    job = Job("seed 1", config, tmp_path)
    with Bars(console) as bars:
        bars.tell(job, Started(trial=0, config=config, history=()))
        bars.tell(job, Epoch(trial=0, metrics=epoch))
        bars.tell(job, Trained("cpu", (epoch,)))
    assert "seed 1: 1 epoch in 1 s, rmse 0.75, val_accuracy 0.5000" in console.text.getvalue()


def test_configuration_on_one_line_is_what_the_user_named() -> None:
    assert short({"params": {"lr": 0.02, "use_bn": False}, "epochs": 3, "seed": 1}) == "lr 0.02, use_bn False"


def test_parameter_with_a_condition_says_it() -> None:
    assert parameter({"low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}}) == "0 to 0.99, where optimizer is sgd"
    assert parameter({"value": 5, "when": {"a": [1, 2], "b": [True]}}) == "5, where a is 1 or 2 and b is True"


def test_failure_of_a_training_speaks_of_no_accuracy(storage: Storage, study: StudyRecord) -> None:
    failed = storage.get_all_trials(study.study_id)[3]
    assert failed.user_attrs["failure"] == Failure(kind="diverged", text="").kind
    without_what_is_not_its(why(failed, study.metric.shown))


def test_retraining_of_a_minimised_metric_is_lucky_below() -> None:
    again = summarised(
        trial=1, searched=0.2, split="validation", scores={1: 0.5, 2: 0.52, 3: 0.51}, images=0, finished="", metric=RMSE
    )
    assert again.in_words() == "searched 0.2, retrained 0.51 +- 0.01 (3 seeds), optimism 0.31"
    assert reproduces(again)[1].endswith("It was lucky.")


def test_retraining_is_shown_by_its_metric_and_never_beside_the_paper(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = make_own_study(storage)
    scores = {1: 0.3, 2: 0.32}
    # is_cifar10 is somebody's mistake: the paper's score is kept out even so.
    record(
        storage,
        study,
        summarised(
            trial=1, searched=0.25, split="test", scores=scores, images=0, finished="x", is_cifar10=True, metric=RMSE
        ),
    )
    app = build_app(storage, hosts=LOCAL)
    assert "Trained again, 2 seeds: <strong>0.31 ± 0.01414</strong>" in shown(app, "/studies/1/best")
    note = study_note(findings_of(storage, find_study(storage, "own")))
    assert "**0.31** ± 0.01414, trial 1 trained anew, 2 seeds" in without_what_is_not_its(note)


def test_network_of_ones_own_is_an_accuracy_but_has_no_paper(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    data = {"source": "cifar10", "fingerprint": "f", "source_images": 50_000, "train_images": 45_000}
    data |= {"validation_images": 5000, "classes": [str(index) for index in range(10)]}
    space = {
        "study": {"name": "net"},
        "model": {"network": "mynet.py:build"},
        "space": {"width": {"low": 1, "high": 9}},
    }
    study, _ = open_study(storage, "net", {"space": space, "data": data})
    found = findings_of(storage, study)
    assert study.is_ours
    assert not found.of_paper
    assert not found.beside_paper
    assert found.question == "Which width gives mynet.py:build its highest validation accuracy?"
    assert "0.7081" not in study_note(found)
    config = {"network": {"width": 7}, "batch_size": 32, "learning_rate": 0.1, "epochs": 3, "schedule": "constant"}
    assert short(config) == "width 7, batch_size 32, learning_rate 0.1, epochs 3, constant"
