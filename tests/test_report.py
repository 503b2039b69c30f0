"""The report: one file that is whole, says what the study says, and obeys nothing that a study is called."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from optuna.trial import FrozenTrial, TrialState
from PIL import Image
from study_maker import DATA, make_foreign, make_study
from test_study_figures import made

from search.cli.main import main
from search.cli.show import FIGURE_NAMES
from search.screen.reporting import space_toml, study_figure, write_report
from search.space.files import load_space
from search.space.space import parse_space
from studies.draw.study_figures import FIGURES
from studies.record.catalog import StudyRecord, find_study
from studies.record.findings import findings_of
from studies.record.retrained import Verified, record, record_verified, summarised
from studies.show.report import report_html
from studies.store.opening import open_storage
from studies.store.storage import Storage

HOSTILE = '</script><img src=x onerror="alert(1)"><!--'


class Page(HTMLParser):
    """The text of a page, without its scripts and styles, and the tags in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.scripts if self.lasttag in ("script", "style") and data.strip() else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"sqlite:///{tmp_path / 'alexsearch.db'}")


def page_of(storage: Storage, trials: Sequence[FrozenTrial] | None = None) -> str:
    return report_html(
        findings_of(storage, find_study(storage, None), trials), space_toml="", created=datetime(2026, 1, 2, tzinfo=UTC)
    )


def on_cifar10(storage: Storage, study: StudyRecord) -> None:
    data = {**DATA, "source": "some.npz", "source_images": 50_000, "classes": list("abcdefghij")}
    storage.set_study_user_attr(study.study_id, "data", data)


def test_report_answers_the_question_and_says_how_sure_it_is(storage: Storage) -> None:
    study = make_study(storage, 0.4, 0.6, TrialState.PRUNED, TrialState.FAIL, trials=5)
    on_cifar10(storage, study)
    text = Page(page_of(storage)).text
    assert "Which learning_rate gives the network its highest validation accuracy?" in text
    assert "Trial 1 came to a validation accuracy of 0.6000" in text
    assert "highest of 2 validation scores, and so a little too good" in text
    assert "4 of 5 settled: 2 complete, 1 pruned, 1 failed; 1 waiting" in text
    assert "verified on the test images not yet" in text
    assert "the report, 2022 0.7081" in text
    assert "Diverged: the loss became NaN." in text
    assert "complete trials only" in text
    kept = summarised(
        trial=1, searched=0.6, split="test", scores={0: 0.75, 1: 0.77}, images=50_000, finished="2026-01-01T00:00:00Z",
        is_cifar10=True,
    )  # fmt: skip
    record(storage, study, kept)
    record_verified(storage, study, Verified((1, 0), 1, 0, 0.3, False, "2026-01-01T00:00:00Z"))
    text = Page(page_of(storage)).text
    assert "verified on the test images 0.7600 ± 0.0141, 2 seeds, trial 1" in text
    assert "gain over the report +0.0519" in text
    assert "trained anew with 2 seeds on 50,000 images, came to 0.7600 on the test images, with a 95%" in text
    assert "it and the next, trial 0, can't be told apart (Welch's t-test, p = 0.3)" in text


def test_report_names_no_folder_of_the_machine(storage: Storage, tmp_path: Path) -> None:
    study = make_study(storage, 0.4, 0.6)
    source = "/home/somebody/secret project/images.npz"
    for table in ("data", "space"):
        stored = study.attributes[table]
        inside = {**stored, "source": source} if table == "data" else {**stored, "data": {"source": source}}
        storage.set_study_user_attr(study.study_id, table, inside)
    write_report(storage, None, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "images of images.npz" in page
    assert "source = &#34;images.npz&#34;" in page
    assert "somebody" not in page
    assert "secret project" not in page


def test_baseline_is_what_there_was_to_beat(storage: Storage) -> None:
    study = make_study(storage, 0.4, 0.6)
    space = {**study.attributes["space"], "baseline": {"learning_rate": 0.01}}
    storage.set_study_user_attr(study.study_id, "space", space)
    assert "gain over the baseline +0.2000 its 0.4000, trial 0" in Page(page_of(storage)).text


@pytest.mark.parametrize("outcomes", [(), (None,), (0.5,), (TrialState.FAIL,) * 4, (TrialState.PRUNED,)])
def test_any_study_has_a_report(storage: Storage, outcomes: tuple[Any, ...]) -> None:
    make_study(storage, *outcomes)
    page = Page(page_of(storage))
    assert ("no trial is complete" in page.text) == (0.5 not in outcomes)
    drawn = [attributes["data-figure"] for tag, attributes in page.tags if tag == "div" and "data-figure" in attributes]
    assert set(drawn) == set(FIGURES)
    (figures,) = [script for script in page.scripts if script.startswith('{"')]
    assert set(json.loads(figures)) == set(FIGURES)


def test_page_is_whole_loads_nothing_and_obeys_no_name(storage: Storage) -> None:
    study = make_study(storage, 0.4, TrialState.FAIL)
    storage.set_study_user_attr(study.study_id, "data", {**DATA, "source": HOSTILE})
    trials = storage.get_all_trials(study.study_id)
    for trial in trials:
        trial.user_attrs |= {"host": HOSTILE, "slot": HOSTILE, "reason": HOSTILE, "versions": {HOSTILE: HOSTILE}}
        trial.user_attrs["config"] = {HOSTILE: HOSTILE, "epochs": 3}
    html = page_of(storage, trials)
    page = Page(html)
    assert not {"img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [each for _, each in page.tags if "src" in each or "href" in each or "onerror" in each]
    assert [tag for tag, _ in page.tags].count("script") == 5
    assert "default-src 'none'" in html
    assert page.text.count("</script><img src=x") >= 4  # shown as it is


def test_table_has_a_row_for_each_trial_that_sorts_by_number(storage: Storage) -> None:
    make_study(storage, 0.4, 0.6, TrialState.PRUNED, trials=5)
    html = page_of(storage)
    rows = re.findall(r"<tr>(<td class=\"number\">\d+</td>.*?)</tr>", html[html.index('id="trials"') :])
    assert len(rows) == 3  # those that wait are nothing yet
    assert '<td class="state complete">complete</td><td class="number">0.6000</td>' in rows[1]
    assert 'data-key="6.0">6 s' in rows[1]


def test_page_of_a_thousand_trials_stays_under_six_megabytes(storage: Storage) -> None:
    study = make_study(storage)
    kinds = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED)
    trials = [
        made(number, kinds[number % 3], [0.01 * epoch + 0.0001 * number for epoch in range(50)], epochs_run=50)
        for number in range(1000)
    ]
    html = report_html(findings_of(storage, study, trials), space_toml="")
    assert len(html.encode()) < 6_000_000
    assert html.count('class="state ') >= 1000


def test_space_in_the_report_runs_the_same_study_again() -> None:
    for preset in ("quick", "seed", "wide"):
        space = load_space(preset)
        assert parse_space(tomllib.loads(space_toml(space.to_dict())), "x").digest() == space.digest()


# The command


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def test_command_writes_the_file_and_says_so(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4)
    said = run("report", "--home", tmp_path, "-o", tmp_path / "new" / "report.html").stdout
    assert said.startswith("report of study small: ")
    assert "</html>" in (tmp_path / "new" / "report.html").read_text()
    run("report", "--home", tmp_path, "--figure", "history", "-o", tmp_path / "one.html")
    assert "best so far" in (tmp_path / "one.html").read_text()


def test_study_in_one_picture_needs_no_exporter(storage: Storage, tmp_path: Path) -> None:
    make_study(storage, 0.4, 0.6)
    said = run("report", "--home", tmp_path, "-o", tmp_path / "small.png").stdout
    assert said.startswith("picture of study small: ")
    assert Image.open(tmp_path / "small.png").size == (1760, 704)
    run("report", "--home", tmp_path, "-o", tmp_path / "small.svg")
    assert (tmp_path / "small.svg").read_text().startswith("<?xml")


def test_study_without_an_epoch_is_no_picture(storage: Storage, tmp_path: Path) -> None:
    make_study(storage)
    refused = run("report", "--home", tmp_path, "-o", tmp_path / "small.png", code=2).stderr
    assert "study 'small': no trial has reported an epoch yet" in refused


def test_figures_are_pictures_where_plotlys_exporter_is_installed(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, 0.4)
    asked: list[Any] = []

    def to_image(_self: object, **how: Any) -> bytes:
        asked.append(how)
        return b"picture"

    monkeypatch.setattr("importlib.util.find_spec", spec(there=True))
    monkeypatch.setattr("plotly.graph_objects.Figure.to_image", to_image)
    for kind in ("png", "svg", "pdf"):
        run("report", "--home", tmp_path, "--figure", "lanes", "-o", tmp_path / f"lanes.{kind}")
        assert (tmp_path / f"lanes.{kind}").read_bytes() == b"picture"
    assert [how["format"] for how in asked] == ["png", "svg", "pdf"]


def test_without_the_exporter_a_picture_is_refused_with_the_way_out(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, 0.4)
    monkeypatch.setattr("importlib.util.find_spec", spec(there=False))
    refused = run("report", "--home", tmp_path, "--figure", "lanes", "-o", tmp_path / "lanes.png", code=2).stderr
    assert "pip install kaleido" in refused
    assert not (tmp_path / "lanes.png").exists()


def spec(*, there: bool) -> Callable[..., Any]:
    find = sys.modules["importlib.util"].find_spec

    def found(name: str, package: str | None = None) -> Any:
        return (SimpleNamespace() if there else None) if name == "kaleido" else find(name, package)

    return found


def test_what_cannot_be_reported_is_said_in_one_line(storage: Storage, tmp_path: Path) -> None:
    make_foreign(storage, "theirs", (1.0,), directions=["maximize"])
    page = tmp_path / "report.html"
    assert "was not made by alexsearch" in run("report", "--home", tmp_path, "-o", page, code=2).stderr
    make_study(storage, 0.4)
    assert "is a folder" in run("report", "--home", tmp_path, "-o", tmp_path, code=2).stderr
    assert "Say which with --figure" in run("report", "--home", tmp_path, "-o", "x.pdf", code=2).stderr
    (tmp_path / "file").write_text("")
    assert "can't be written" in run("report", "--home", tmp_path, "-o", tmp_path / "file" / "x.html", code=2).stderr
    assert not page.exists()


def test_command_offers_every_figure_there_is() -> None:
    assert set(FIGURE_NAMES) == set(FIGURES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_what_the_shell_needs(shell: str) -> None:
    assert "_ALEXSEARCH_COMPLETE" in run("completion", shell).stdout


@pytest.mark.parametrize(("images", "drawn"), [(4_000, False), (24_999, False), (25_000, True), (45_000, True)])
def test_reports_curve_stands_beside_studies_of_cifar10_that_train_on_half_of_it(
    storage: Storage, images: int, drawn: bool
) -> None:
    study = make_study(storage, 0.4, 0.6)
    on_cifar10(storage, study)
    data = {**find_study(storage, None).attributes["data"], "train_images": images}
    storage.set_study_user_attr(study.study_id, "data", data)
    found = findings_of(storage, find_study(storage, None))
    assert (found.of_paper, found.beside_paper) == (True, drawn)
    assert ("report, 2022" in study_figure(storage, None, "history").to_json()) == drawn
