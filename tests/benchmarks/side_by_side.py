"""Which of several ways to search a space finds more in the same time? Real searches, trained at the same time.

    python tests/benchmarks/side_by_side.py hour docs/searches/paused.toml --data cifar10.npz --timeout 50m -o both.png

Each search is a run of its own with its part of the cores, so that what else the machine does hits all of them alike;
its time begins with its first epoch. Printed, and drawn if -o says where: the best of the complete trials over the
time, and the best that any epoch of any trial had. One search a way says little about the next: see curve_replay.py.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from search import api
from search.space.files import load_space
from studies.draw.picture import BLUE, GREEN, ORANGE, RED, in_our_style, new_picture, percent
from studies.record.catalog import StudyError
from studies.store.errors import StorageError

POLL_SECONDS = 5.0


@dataclass
class Course:
    """How a search went, whenever there was something new."""

    minutes: list[float] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)
    """The best of the complete trials; 0 while there is none."""
    any_epoch: list[float] = field(default_factory=list)
    begun: int = 0
    completed: int = 0
    epochs: int = 0
    """Trained so far, of all trials."""

    def note(self, trials: Sequence[FrozenTrial], seconds: float) -> None:
        """Take in what the trials have come to after so many seconds of a search."""
        complete = [trial.value or 0.0 for trial in trials if trial.state == TrialState.COMPLETE]
        reported = [value for trial in trials for value in trial.intermediate_values.values()]
        self.begun = sum(bool(trial.params) for trial in trials)
        self.completed, self.epochs = len(complete), len(reported)
        best = max(complete, default=0.0), max(reported, default=0.0)
        if not self.minutes or best != (self.complete[-1], self.any_epoch[-1]):
            self.minutes.append(seconds / 60)
            self.complete.append(best[0])
            self.any_epoch.append(best[1])


def searched(spaces: Sequence[str], data: str, timeout: str, home: Path) -> dict[str, Course]:
    """The courses of the searches, by the names of their studies."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // len(spaces))
    courses: dict[str, Course] = {}
    runs = []
    for index, space in enumerate(spaces):
        name = load_space(space).study.name
        courses[name] = Course()
        own = ",".join(map(str, cores[index * share % len(cores) :][:share]))
        alexsearch = str(Path(sys.executable).with_name("alexsearch"))
        command = ["taskset", "-c", own, alexsearch, "run", space, "--workers", "1"]
        with (home / f"{name}.log").open("w") as log:
            asked = [*command, "--data", data, "--timeout", timeout, "--home", str(home / name)]
            runs.append(subprocess.Popen(asked, stdout=log, stderr=subprocess.STDOUT))
    began: dict[str, float] = {}
    try:
        while True:
            at_work = [run for run in runs if run.poll() is None]
            for name, course in courses.items():
                try:
                    trials = api.open_study(name, home=home / name).trials
                except (StudyError, StorageError):
                    continue  # not made yet
                if any(trial.intermediate_values for trial in trials):
                    course.note(trials, time.monotonic() - began.setdefault(name, time.monotonic()))
            print("  ".join(told(*each) for each in courses.items()), end="\r", file=sys.stderr, flush=True)
            if not at_work:
                return courses
            time.sleep(POLL_SECONDS)
    finally:
        for run in runs:
            run.terminate()
        for run in runs:
            run.wait()


def told(name: str, course: Course) -> str:
    best = course.complete[-1] if course.complete else 0.0
    return f"{name}: {course.completed} of {course.begun} trials complete, {course.epochs} epochs, best {best:.4f}"


@in_our_style
def draw(courses: Mapping[str, Course], path: Path) -> None:
    """Both curves of each search."""
    figure, axes = new_picture(8, 4.2)
    end = max(course.minutes[-1] for course in courses.values())
    for (name, course), colour in zip(courses.items(), itertools.cycle([BLUE, RED, GREEN, ORANGE]), strict=False):
        minutes = [*course.minutes, end]
        shown = [(at, best) for at, best in zip(minutes, [*course.complete, course.complete[-1]], strict=True) if best]
        if shown:
            axes.step(
                *zip(*shown, strict=True), where="post", color=colour, linewidth=2, label=f"{name}: complete trials"
            )
        any_epoch = [*course.any_epoch, course.any_epoch[-1]]
        axes.step(
            minutes, any_epoch, where="post", color=colour, linewidth=1, linestyle=":", label=f"{name}: any epoch"
        )
    axes.set(xlabel="minutes of the search", ylabel="best validation accuracy")
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    percent(axes)
    figure.savefig(path, dpi=120)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spaces", nargs="+", metavar="SPACE", help="presets or files, of studies with different names")
    parser.add_argument("--data", required=True, help="as `alexsearch run --data` takes it")
    parser.add_argument("--timeout", default="50m", help="of each search")
    parser.add_argument("--home", type=Path, help="folder that keeps the studies; else they are thrown away")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.png")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its searches end with it
    with tempfile.TemporaryDirectory() as temporary:
        home = asked.home or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        courses = searched(asked.spaces, asked.data, asked.timeout, home)
    if asked.json:
        asked.json.write_text(json.dumps({name: asdict(course) for name, course in courses.items()}, indent=2) + "\n")
    for name, course in courses.items():
        print(f"{told(name, course):100}")
        for at, complete, best in zip(course.minutes, course.complete, course.any_epoch, strict=True):
            print(f"  {at:6.1f} min  complete {complete:.4f}  any epoch {best:.4f}")
    if asked.output:
        draw(courses, asked.output)


if __name__ == "__main__":
    main()
