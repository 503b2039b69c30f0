"""Our own pages: what they say, what they refuse, and that nothing in a database can become a part of them."""

from __future__ import annotations

import datetime
import io
import json
import socket
import tomllib
import types
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from setuptools import find_packages
from study_maker import EPOCHS, make_foreign, make_study
from test_dashboard import LOCAL, get, request

from search.screen.serving import dashboard_beside, recipe_text
from studies.queue.queue import Queue
from studies.queue.standing import Counts, SlotStatus
from studies.record.catalog import find_study
from studies.record.pace import pace_of
from studies.record.retrained import record, summarised
from studies.show.dashboard import build_app
from studies.show.filters import count, gain, plain, plural, score
from studies.show.pages import gpus
from studies.show.pages.chart import Line, draw, sparkline
from studies.show.pages.site import MOST_KEPT, POLICY, _Kept
from studies.store.errors import StorageError
from studies.store.opening import open_storage
from studies.store.storage import Storage

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

PRUNED, FAIL = TrialState.PRUNED, TrialState.FAIL
SAME_ORIGIN = {"HTTP_ORIGIN": "http://localhost:8080"}
ROOT = Path(__file__).parents[1]
HOSTILE = "\"><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def app(storage: Storage) -> WSGIApplication:
    """Over a study of ours: complete 0.41 (baseline-less), 0.52, pruned, failed, 0.3, and three that wait."""
    make_study(storage, 0.41, 0.52, PRUNED, FAIL, 0.3, trials=8)
    return build_app(storage, hosts=LOCAL, recipe=recipe_text(storage), allow_edits=True)


def page(app: WSGIApplication, path: str, status: int = 200) -> str:
    """The words of a page, blanks run together."""
    answered, headers, body = request(app, path)
    assert answered == status, body.decode()
    assert headers["content-type"] == ["text/html; charset=utf-8"]
    return " ".join(Words.of(body.decode()).split())


class Words(HTMLParser):
    """The text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    @staticmethod
    def of(html: str) -> str:
        parser = Words()
        parser.feed(html)
        return "".join(parser.found)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.found.append(" ")

    def handle_data(self, data: str) -> None:
        self.found.append(data)


PAGES = ["/", "/studies/1", "/studies/1?order=best", "/studies/1/best", "/studies/1/compare",
         "/studies/1/compare?trial=0&trial=1&trial=2&metric=loss", *(f"/studies/1/trials/{n}" for n in (0, 2, 3, 7)),
         "/studies/99", "/studies/1/trials/99", "/studies/nonsense"]  # fmt: skip


def test_list_leads_to_our_pages_and_to_optuna_dashboards(app: WSGIApplication) -> None:
    body = request(app, "/")[2].decode()
    for address in ("/studies/1", "/studies/1/best", "/dashboard/studies/1", "/studies/1/trials/1", "/dashboard"):
        assert f'href="{address}"' in body
    said = page(app, "/")
    assert "0.5200" in said
    assert "5 of 8 settled" in said
    assert "searches learning_rate on 1,600 training and 400 validation images of synthetic" in said


def test_empty_database_says_how_to_begin(storage: Storage) -> None:
    assert "alexsearch run quick" in page(build_app(storage, hosts=LOCAL), "/")


def test_study_page_counts_and_names_what_was_found(app: WSGIApplication) -> None:
    said = page(app, "/studies/1")
    for text in (
        "Best validation accuracy 0.5200 trial 1", "3 complete 1 pruned 1 failed 3 waiting", "3 trials are left",
        "diverged: the loss became NaN", "22 s of device time; pruning saved about 4 s", "Trials 5",
    ):  # fmt: skip
        assert text in said
    assert "report" not in said  # its images are not CIFAR-10's
    assert "0.2000" not in page(app, "/studies/1?state=complete")
    assert page(app, "/studies/1?order=best").index("0.5200") < page(app, "/studies/1?order=best").index("0.4100")


def test_table_is_cut_into_pages_and_survives_what_an_address_may_hold(storage: Storage) -> None:
    study = optuna.create_study(storage=storage, study_name="long")
    study.add_trials([create_trial(value=float(number)) for number in range(45)])
    app = build_app(storage, hosts=LOCAL)
    assert "page 1 of 3" in page(app, "/studies/1")
    assert "page 3 of 3" in page(app, "/studies/1?page=3")
    assert page(app, "/studies/1?order=best").count("complete") > 5
    for page_number in ("0", "-1", "4", "99999999", "9" * 40, "x", "%00", "%F0%9D%9F%9A"):
        assert " of 3" in page(app, f"/studies/1?page={page_number}&state=nonsense&order={'x' * 100}")


def test_trial_page_tells_its_curves_configuration_and_end(app: WSGIApplication) -> None:
    said = page(app, "/studies/1/trials/1")
    for text in ("Trial 1 complete", "Accuracy", "Loss", "Learning rate", "Seconds per epoch", "batch_size 32",
                 "learning_rate 0.02 searched", "the best of the study", "git_commit none", "python 3.11"):  # fmt: skip
        assert text in said
    assert said.count("training validation") == 2
    assert "Diverged: the loss became NaN." in page(app, "/studies/1/trials/3")
    assert "the pruner held it against the trials before it" in page(app, "/studies/1/trials/2")
    assert "Waits in the queue." in page(app, "/studies/1/trials/7")
    assert "no trial 99" in page(app, "/studies/1/trials/99", 404)


def test_comparison_draws_each_trial_and_says_where_they_differ(app: WSGIApplication) -> None:
    body = request(app, "/studies/1/compare?trial=1&trial=0,4")[2].decode()
    for look in ("s1", "s2", "s3"):
        assert f'<path class="{look}" d="M' in body
    said = page(app, "/studies/1/compare?trial=1&trial=0,4")
    assert "3 trials side by side" in said
    assert "learning_rate 0.02 0.01 0.05" in said
    assert "The same in all: batch_size 32, epochs 3" in said
    readings = [value for tag, attrs in tags(body) if (value := attrs.get("data-readings"))]
    assert [(name, len(points)) for name, points in json.loads(readings[0])] == [
        ("trial 1", EPOCHS), ("trial 0", EPOCHS), ("trial 4", EPOCHS)
    ]  # fmt: skip


def test_comparison_takes_eight_and_passes_over_what_is_no_number(storage: Storage) -> None:
    study = optuna.create_study(storage=storage, study_name="many")
    study.add_trials([create_trial(value=0.5, intermediate_values={1: 0.1, 2: 0.5}) for _ in range(11)])
    app = build_app(storage, hosts=LOCAL)
    said = page(app, "/studies/1/compare?trial=" + ",".join(map(str, range(11))))
    assert "8 trials side by side" in said
    assert "8, 9, 10 are left out" in said
    for trials in ("x", "-1", "1.5", "%00", "9" * 30, "1&metric=__class__"):
        request(app, f"/studies/1/compare?trial={trials}")
        assert request(app, f"/studies/1/compare?trial={trials}")[0] == 200
    assert "no trial 77" in page(app, "/studies/1/compare?trial=77", 404)


def test_best_page_gives_the_recipe_and_the_command_that_retrains_it(app: WSGIApplication, tmp_path: Path) -> None:
    from search.retraining.recipe import read_recipe

    said = page(app, "/studies/1/best")
    assert "alexsearch retrain small-trial-1.toml --seeds 3" in said
    assert "alexsearch export --study small --trial 1 -o small-trial-1.toml" in said
    status, headers, body = request(app, "/studies/1/trials/1/recipe")
    assert status == 200
    assert headers["content-disposition"] == ['attachment; filename="small-trial-1.toml"']
    (tmp_path / "small-trial-1.toml").write_bytes(body)
    recipe = read_recipe(tmp_path / "small-trial-1.toml")
    assert (recipe.trial, recipe.value, recipe.edited, len(recipe.history)) == (1, 0.52, False, EPOCHS)


def test_trial_without_a_recipe_says_why(app: WSGIApplication, storage: Storage) -> None:
    assert "failed (diverged" in page(app, "/studies/1/trials/3/recipe", 404)
    make_foreign(storage, "theirs", (1.0,), directions=["maximize"])
    assert "alexsearch did not train it" in page(app, "/studies/2/trials/0/recipe", 404)
    assert "recipe" not in request(build_app(storage, hosts=LOCAL), "/studies/1/best")[2].decode()


def test_what_retraining_came_to_stands_beside_the_best(app: WSGIApplication, storage: Storage) -> None:
    study = find_study(storage, "small")
    scores = {0: 0.50, 1: 0.52}
    again = summarised(
        trial=1, searched=0.52, split="test", scores=scores, images=2000, finished="2026-01-31T12:00:00Z"
    )
    record(storage, study, again)
    for path in ("/studies/1", "/studies/1/best"):
        assert "2 seeds: 0.5100 ± 0.0141 on the test images" in page(app, path)


def test_studies_of_other_programs_are_shown_as_far_as_they_go(storage: Storage) -> None:
    make_foreign(storage, "one", (1.0,), (3.0,), (2.0,), directions=["minimize"])
    make_foreign(storage, "two", (1.0, 2.0), directions=["minimize", "maximize"])
    optuna.create_study(storage=storage, study_name="nothing yet")
    app = build_app(storage, hosts=LOCAL)
    assert "Best value 1.0000 trial 0" in page(app, "/studies/1")
    assert page(app, "/studies/1?order=best").index("1.0000") < page(app, "/studies/1?order=best").rindex("3.0000")
    assert "has 2 objectives" in page(app, "/studies/2/best")
    for path in PAGES[1:5]:
        for study in (1, 2, 3):
            page(app, path.replace("/studies/1", f"/studies/{study}"))
    listed = page(app, "/")
    assert "made by another program" in listed
    assert "several objectives, so none is the best" in listed
    assert "baseline" not in listed


# ---- nothing of a database becomes a part of a page


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Words()
    parser.feed(html)
    return parser.tags


def test_pages_hold_no_script_or_style_of_their_own_and_forbid_any(app: WSGIApplication) -> None:
    for path in PAGES:
        _, headers, body = request(app, path)
        assert POLICY in headers["content-security-policy"]
        assert headers["x-content-type-options"] == ["nosniff"]
        assert headers["cache-control"] == ["no-store"]
        for tag, attrs in tags(body.decode()):
            assert tag != "style"
            assert tag != "script" or str(attrs["src"]).startswith("/pages/pages.js?v=")
            assert not [name for name in attrs if name.startswith("on") or name == "style"]
    assert "unsafe" not in POLICY


def test_hostile_names_and_reasons_are_text(storage: Storage) -> None:
    make_study(storage, 0.5, name="ours " + "x" * 200)
    study = optuna.create_study(storage=storage, study_name=HOSTILE + "\u202egnp\r\n")
    attrs = {
        "reason": HOSTILE,
        HOSTILE: HOSTILE,
        "config": {HOSTILE: HOSTILE},
        "seconds": HOSTILE,
        "images_per_second": [1],
    }
    study.add_trial(
        create_trial(
            value=0.5,
            params={HOSTILE: "</svg>" + HOSTILE},
            distributions={HOSTILE: optuna.distributions.CategoricalDistribution(["</svg>" + HOSTILE])},
            user_attrs=attrs,
            intermediate_values={1: 0.5, 2: 0.6},
        )
    )
    app = build_app(storage, hosts=LOCAL, recipe=recipe_text(storage))
    for path in ("/", "/studies/2", "/studies/2/trials/0", "/studies/2/compare?trial=0", "/studies/2/best"):
        status, _, body = request(app, path)
        assert status == 200
        assert [tag for tag, _ in tags(body.decode())].count("script") == 1
        assert "onerror" not in {name for _, attrs in tags(body.decode()) for name in attrs}
        assert "document.title='taken'" in Words.of(body.decode())  # shown, not obeyed
        assert "\u202e" not in body.decode()
    request(app, "/studies/2/trials/0/recipe")
    assert request(app, f"/studies/2?state={HOSTILE}&order={HOSTILE}&page={HOSTILE}")[0] == 200


# ---- a page that many look at


def test_page_is_made_once_for_all_who_ask_in_a_moment_and_anew_after_an_edit(storage: Storage) -> None:
    make_study(storage, 0.41)
    app = build_app(storage, hosts=LOCAL, allow_edits=True, kept_seconds=1000)
    first = request(app, "/studies/1")
    assert page(app, "/studies/2", 404)
    make_study(storage, 0.5, name="second")
    assert "second" in page(app, "/studies/2"), "that there was none is kept by nobody"
    Queue(storage, 1).request_stop(now=False)
    assert request(app, "/studies/1") == first
    assert request(app, "/studies/1?order=best") != first
    assert post(app, "/studies/2/stop")[0] == 303
    assert request(app, "/studies/1")[2] != first[2]


def test_no_more_than_a_few_pages_are_kept() -> None:
    kept = _Kept(1000)
    for number in range(2 * MOST_KEPT):
        assert kept.answer(str(number), partial(int, number)) == number
    assert len(kept._entries) == MOST_KEPT
    assert kept.answer(str(2 * MOST_KEPT - 1), lambda: "made again") == 2 * MOST_KEPT - 1
    assert kept.answer("0", lambda: "made again") == "made again"


# ---- stop and continue


def post(
    app: WSGIApplication, path: str, body: bytes = b"", headers: Mapping[str, str] = SAME_ORIGIN
) -> tuple[int, dict[str, list[str]]]:
    sent: dict[str, Any] = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body))}
    return request(app, path, "POST", **{**sent, **headers, "wsgi.input": io.BytesIO(body)})[:2]


def test_study_is_stopped_and_continued_from_its_page(app: WSGIApplication, storage: Storage) -> None:
    queue = Queue(storage, 1)
    queue.join("cpu")
    assert "Stop after running trials" in page(app, "/studies/1")
    status, headers = post(app, "/studies/1/stop")
    assert (status, headers["location"]) == (303, ["/studies/1"])
    assert queue.stop_requested() == "after"
    assert "Slots that are still at work go on" in page(app, "/studies/1")
    post(app, "/studies/1/stop", b"now=yes")
    assert queue.stop_requested() == "now"
    assert post(app, "/studies/1/continue")[0] == 303
    assert queue.stop_requested() is None


def test_page_says_that_it_can_start_no_worker(app: WSGIApplication, storage: Storage) -> None:
    Queue(storage, 1).request_stop(now=False)
    assert "workers that have ended can\u2019t be started from a page" in page(app, "/studies/1")


def test_only_our_own_pages_may_stop_a_study_and_only_where_edits_are_allowed(
    app: WSGIApplication, storage: Storage
) -> None:
    queue = Queue(storage, 1)
    queue.join("cpu")
    foreign: list[dict[str, str]] = [{}, {"HTTP_ORIGIN": "http://evil.example"}, {"HTTP_ORIGIN": "null"}]
    for headers in foreign:
        assert post(app, "/studies/1/stop", headers=headers)[0] == 403
    assert request(app, "/studies/1/stop")[0] == 405  # no link or picture can do it
    reading = build_app(storage, hosts=LOCAL)
    assert post(reading, "/studies/1/stop")[0] == 405
    assert '<form method="post"' not in request(reading, "/studies/1")[2].decode()
    assert "--allow-edits" in page(reading, "/studies/1")
    assert queue.stop_requested() is None


def test_another_programs_study_is_not_stopped(app: WSGIApplication, storage: Storage) -> None:
    make_foreign(storage, "theirs", (1.0,), directions=["maximize"])
    assert post(app, "/studies/2/stop")[0] == 404
    assert post(app, "/studies/77/stop")[0] == 404
    assert storage.get_study_system_attrs(2) == {}


# ---- the server


def test_style_and_script_are_kept_by_browsers_until_they_change(app: WSGIApplication) -> None:
    for tag, attrs in tags(request(app, "/")[2].decode()):
        address = attrs.get("src") or (attrs.get("href") if tag == "link" else None)
        if address:
            status, headers, body = request(app, address)
            assert (status, bool(body)) == (200, True)
            assert headers["cache-control"] == ["private, max-age=31536000, immutable"]
            assert headers["x-content-type-options"] == ["nosniff"]
    for name in ("nothing.js", "..%2f..%2fsite.py", "../site.py", "%2e%2e/site.py"):
        assert request(app, f"/pages/{name}")[0] == 404


def test_database_that_does_not_answer_is_said(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StorageError("storage gone: it does not answer. Wait.")

    monkeypatch.setattr("studies.show.pages.overview.all_studies", away)
    assert "storage gone: it does not answer" in page(build_app(storage, hosts=LOCAL), "/", 503)


def test_defect_of_ours_is_a_page_that_shows_no_more_than_that(
    app: WSGIApplication, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("studies.show.pages.overview.list_of_studies", broken)
    status, headers, body = request(app, "/")
    assert status == 500
    assert b"A defect of ours" in body
    assert b"secret" not in body
    assert POLICY in headers["content-security-policy"]
    capsys.readouterr()


def test_every_file_of_the_pages_is_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = find_packages(str(ROOT), include=project["packages"]["find"]["include"])
    patterns = []
    for package, named in project["package-data"].items():
        assert package in found
        patterns += [f"{package.replace('.', '/')}/{pattern}" for pattern in named]
    files = [file.relative_to(ROOT).as_posix() for file in (ROOT / "studies").rglob("*") if file.is_file()]
    left_out = [name for name in files if not any(fnmatch(name, pattern) for pattern in patterns)]
    assert [name for name in left_out if not name.endswith((".py", ".pyc"))] == []


def test_dashboard_beside_a_run_takes_another_port_where_its_own_is_taken(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(storage, 0.41, 0.52)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("search.screen.serving.DEFAULT_PORT", port)
        with dashboard_beside(storage, tmp_path / "artifacts") as told:
            url = told.split()[1]
            assert get(url, "/studies/1") == 200
            assert get(url, "/studies/1/trials/1/recipe") == 200
    assert f"port {port} is taken" in told
    with pytest.raises(ConnectionRefusedError):
        get(url, "/")


# ---- numbers


def slot(trial: int | None = None, *, stale: bool = False, rate: float = 100.0) -> SlotStatus:
    return SlotStatus("s", "h", 1, "cpu", trial, 0, rate, 1.0, stale)


def test_pace_is_that_of_the_last_trials_shared_by_the_slots_that_live() -> None:
    now = datetime.datetime(2026, 1, 1, 12)
    minutes = [now + datetime.timedelta(minutes=m) for m in range(0, -60, -1)]
    ended = [create_trial(value=0.5) for _ in range(2)]
    for trial, (start, end) in zip(ended, ((minutes[20], minutes[16]), (minutes[18], minutes[16])), strict=True):
        trial.datetime_start, trial.datetime_complete = start, end  # 4 and 2 minutes
    running = create_trial(state=TrialState.RUNNING)
    running.datetime_start = minutes[1]
    counts = Counts(waiting=4, running=1, complete=2, pruned=0, failed=0, retried=0)
    slots = [slot(2), slot(), slot(9, stale=True)]
    pace = pace_of([*ended, running], counts, slots, now)
    assert pace.trials_per_hour == pytest.approx(40)  # two slots, three minutes each
    assert pace.seconds_left == pytest.approx((4 * 180 + 120) / 2)
    assert pace.images_per_second == 100
    assert pace_of([*ended, running], counts, [slot(2, stale=True)], now).seconds_left is None
    assert pace_of([running], counts, slots, now).seconds_left is None


def test_chart_puts_points_where_they_belong() -> None:
    drawn = draw("t", [Line("a", [(1, 0.0), (2, 0.5), (3, 1.0)], "s1")], x_label="epoch")
    (line,) = drawn.lines
    assert [x for x, _ in line.marks] == [0.0, 50.0, 100.0]
    assert line.marks[1][1] == pytest.approx(50, abs=0.1)
    assert line.marks[0][1] > line.marks[2][1]  # down is more in SVG
    assert [tick.label for tick in drawn.x_ticks] == ["1", "2", "3"]
    assert [tick.label for tick in drawn.y_ticks] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert json.loads(drawn.readings)[0][1][1][2:] == ["2", "0.5000"]


@pytest.mark.parametrize(
    "points",
    [[], [(1, float("nan"))], [(1, float("inf")), (2, float("-inf"))], [(1, 0.3)], [(1, 0.3), (2, 0.3)],
     [(5, 1e300), (6, -1e300)], [(1, 1e-12), (2, 2e-12)], [(number, number % 7) for number in range(5000)]],
)  # fmt: skip
@pytest.mark.parametrize("log", [False, True])
def test_chart_holds_whatever_was_reported(points: list[tuple[float, float]], log: bool) -> None:
    drawn = draw("t", [Line("a", points, "s1"), Line("b", points[:1], "s2")], x_label="epoch", log=log)
    for line in drawn.lines:
        assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in line.marks)
    assert len(drawn.y_ticks) < 20
    sparkline(points, 3, 0.0, 1.0)


def test_logarithmic_chart_marks_powers_of_ten() -> None:
    drawn = draw("t", [Line("a", [(1, 0.1), (2, 0.0001)], "s1")], x_label="epoch", log=True)
    assert [tick.label for tick in drawn.y_ticks] == ["0.0001", "0.001", "0.01", "0.1"]
    few = draw("t", [Line("a", [(1, 0.1), (2, 0.01)], "s1")], x_label="epoch", log=True)
    assert [tick.label for tick in few.y_ticks] == ["0.01", "0.02", "0.05", "0.1"]
    constant = draw("t", [Line("a", [(1, 0.0114), (2, 0.0114)], "s1")], x_label="epoch", log=True)
    assert [tick.label for tick in constant.y_ticks] == ["0.005", "0.01", "0.02"]


def test_numbers_are_written_for_people() -> None:
    assert (score(0.5), score(None), score(1e9)) == ("0.5000", "–", "1e+09")  # noqa: RUF001
    assert (gain(0.01), gain(-0.01)) == ("+0.0100", "−0.0100")  # noqa: RUF001
    assert (count(12345), plural(1, "trial"), plural(2, "trial")) == ("12,345", "1 trial", "2 trials")
    assert [plain(value) for value in (True, None, [10, 20], {"a": 0.123456}, 1)] == [
        "yes", "none", "10, 20", "a 0.123", "1"
    ]  # fmt: skip


class FakeDriver(types.ModuleType):
    """NVIDIA's driver with one card whose sensor and utilization are not told."""

    class NVMLError(Exception):
        pass

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, cards: int = 2, fails: bool = False) -> None:
        super().__init__("pynvml")
        self.cards, self.fails, self.asked = cards, fails, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.asked += 1
        if self.fails:
            raise self.NVMLError

    def nvmlShutdown(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> Any:  # noqa: N802
        return types.SimpleNamespace(used=3 * 2**30, total=8 * 2**30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        if handle == 1:
            raise self.NVMLError
        return types.SimpleNamespace(gpu=87)

    def nvmlDeviceGetTemperature(self, handle: int, _sensor: int) -> int:  # noqa: N802
        if handle == 1:
            raise self.NVMLError
        return 61


def test_gpus_are_shown_with_what_their_driver_tells(app: WSGIApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeDriver())
    said = page(app, "/studies/1")
    assert "0: card 0" in said
    assert "87%" in said
    assert "3.0 of 8 GiB 61 °C" in said
    assert "1: card 1 busy unknown memory 3.0 of 8 GiB" in said


def test_driver_is_asked_once_a_second_and_its_failure_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    now, driver = [0.0], FakeDriver()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", driver)
    watched = gpus.Gpus(clock=lambda: now[0])
    assert len(watched.look()) == len(watched.look()) == 2
    assert driver.asked == 1
    now[0] = 2.0
    driver.fails = True
    assert watched.look() == ()
    assert driver.asked == 2
