"""All that is to be known of alexsearch on a GPU, in 25 minutes on one card: the cheapest and most telling first.

    pip install torch==2.13.0                            # only for the comparison; without it, it is left out
    python tests/benchmarks/gpu.py --data cifar10.npz [--json gpu.json] [--minutes 25] [--only "batch 32" killed]
    python tests/benchmarks/gpu.py --small               # to its end on a CPU, in a minute: it shows only that it runs

Each row is printed and written to the JSON file as soon as it is known, so that a run that is cut off loses nothing. A
row that fails, or takes too long, says so and the next one follows; one for which no time is left is told as left out.

    trains        does the program compile and train at all; the first two epochs beside the report's
    batch N       images of training a second against Keras `fit` over tf.data and PyTorch, share of the card's matrix
                  product, seconds to compile, memory (goals: 10 times Keras at 32, 5 times at 512, a share of 35%)
    together N    N trials on the card at once, and what `--trials-per-gpu auto` would choose
    memory        a batch that does not fit, and whether the process goes on after it
    killed        a training that is killed, and whether it goes on as if it had not been
    run hour ...  five minutes of a search from a cold start, and its best trained on all images
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.speed import CONTENDERS, Contender, Spread, row

from model.config import DataSpec, EpochMetrics, TrainConfig
from model.data import load_test, load_training
from model.device import available_cores
from model.files import write_text
from search.training.child import Child, Process
from search.training.messages import Epoch, Failed, Finished, Progress, Started, Train, Validation, Verdict
from search.training.places import Place, plan_places, visible_gpus
from studies.record.published import PAPER_ACCURACY

Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    images: int
    """Of an epoch, but for the first row's, which are all."""
    batch_sizes: tuple[int, ...]
    rounds: int
    together: tuple[int, ...]
    too_large: int
    """A batch that does not fit into `least_memory`."""
    least_memory: int
    """MB of the card."""
    presets: tuple[str, ...]
    run: tuple[str, ...]
    """Options of `alexsearch run`."""


FULL = Scale(20_000, (32, 128, 512, 2048), 2, (1, 2, 4, 8), 16_384, 2048, ("hour", "beyond"), ("--timeout", "5m"))
SMALL = Scale(
    200, (32,), 1, (2,), 200, 2048, ("quick",), ("--train-images", "200", "--validation-images", "100", "--trials", "1")
)


@dataclass(frozen=True)
class Bench:
    """What all rows have."""

    data: str
    scale: Scale
    folder: Path
    deadline: float
    """By `time.monotonic`."""

    @property
    def part(self) -> DataSpec:
        return DataSpec(
            source=self.data, train_images=self.scale.images, validation_images=max(100, self.scale.images // 5)
        )

    def started(self, place: Place, data: DataSpec, validation: Validation = "held-out") -> tuple[Process, str]:
        """A training process as a search uses it, which has read its data, and what it computes on."""
        process = Child(place, data, self.folder / "cache", self.folder / f"{place.name}.log", validation)
        ready = process.wait_ready(threading.Event())
        assert ready is not None  # nothing stops it
        return process, f"{ready.device.name}, {ready.device.precision}"

    def start(self, place: Place) -> Process:
        """The same over a part of the images."""
        return self.started(place, self.part)[0]

    def place(self, **changes: Any) -> Place:
        """All of the first card; without one, all of the CPU."""
        (place,) = plan_places(1, visible_gpus()[:1], available_cores())
        return Place(**{**vars(place), **changes})


@dataclass
class Course:
    """A training as it was heard."""

    history: list[EpochMetrics]
    began_with: int = 0
    """Epochs of a checkpoint."""
    first_seconds: float = 0.0
    """Until the first steps were done, compilation included."""
    seconds: float = 0.0
    failure: str = ""


def trained(
    process: Process, config: TrainConfig, checkpoints: Path | None = None, *, killed_in: int | None = None
) -> Course:
    """Have a configuration trained, or killed in the midst of an epoch."""
    begun, course = time.perf_counter(), Course([])
    process.send(Train(trial=1, config=config, checkpoints=checkpoints))
    while not course.failure:
        message = process.receive(600.0)
        match message:
            case Started(history=history):
                course.history = [metrics for metrics in history if isinstance(metrics, EpochMetrics)]
                course.began_with = len(history)
            case Progress(epoch=epoch):
                course.first_seconds = course.first_seconds or time.perf_counter() - begun
                if epoch == killed_in:
                    process.kill()
                    break
            case Epoch(metrics=metrics) if isinstance(metrics, EpochMetrics):
                course.history.append(metrics)
                process.send(Verdict(trial=1, epoch=metrics.epoch, go=True))
            case Failed(failure=failure):
                course.failure = failure.kind
            case Finished():
                break
            case None:
                course.failure = "silent for ten minutes"
    course.seconds = time.perf_counter() - begun
    return course


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig.model_validate({"batch_size": 128, "learning_rate": 0.01, "epochs": 2, **values})


def trains(bench: Bench) -> Row:
    """The report's configuration, validated on the test images as it did."""
    process, device = bench.started(bench.place(), DataSpec(source=bench.data), "test")
    try:
        course = trained(process, config_of(batch_size=32, learning_rate=0.001))
    finally:
        process.kill()
    return {
        "device": device,
        "failure": course.failure or None,
        "seconds to the first steps": course.first_seconds,
        "accuracy": [metrics.val_accuracy for metrics in course.history],
        "report's": [PAPER_ACCURACY[epoch] for epoch in (1, 2)],
        "seconds an epoch": [metrics.seconds for metrics in course.history],
    }


def batch(bench: Bench, size: int) -> Row:
    """Whole epochs of each contender in turn."""
    kinds = [kind for kind in CONTENDERS if kind != "ours-float32"]
    kinds = [kind for kind in kinds if kind != "pytorch" or importlib.util.find_spec("torch")]
    contenders: list[Contender] = []
    try:
        for kind in kinds:
            contenders.append(Contender(kind, bench.data, bench.scale.images, bench.folder))
        compiling = {each.kind: each.ask(f"warm {size}")["seconds"] for each in contenders}
        seconds: dict[tuple[str, int], list[float]] = {(kind, size): [] for kind in kinds}
        rates: dict[str, list[float]] = {"ours": []}
        for _ in range(bench.scale.rounds):
            for each in contenders:
                seconds[each.kind, size].append(each.ask(str(size))["seconds"])
            rates["ours"].append(contenders[0].ask("matmul")["flops"])
        memory = contenders[0].ask("memory")["megabytes"]
    finally:
        for each in contenders:
            each.close()
    found: Row = row("ours", size, seconds, rates, bench.scale.images)
    others = {kind: row(kind, size, seconds, rates, bench.scale.images) for kind in kinds if kind != "ours"}
    return {
        **found,
        "on": contenders[0].about,
        "images_per_second of others": {kind: each["images_per_second"] for kind, each in others.items()},
        "seconds of an epoch that compiles": compiling["ours"],
        "most memory, MB": memory,
    }


def together(bench: Bench, count: int) -> Row:
    """So many training processes on one card, each with an epoch behind it, and then all at once."""
    gpus, cores = visible_gpus()[:1], available_cores()
    places = plan_places(count, gpus, cores)
    processes: list[Process] = []
    courses: list[Course] = []

    def train_all() -> None:
        del courses[:]
        threads = [threading.Thread(target=lambda one=one: courses.append(trained(one, config))) for one in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    config = config_of(epochs=1 if bench.scale is SMALL else 4)
    try:
        for place in places:
            processes.append(bench.start(place))
        train_all()  # compiles
        begun = time.perf_counter()
        train_all()
        took = time.perf_counter() - begun
    finally:
        for process in processes:
            process.kill()
    return {
        "images_per_second of all": sum(len(course.history) for course in courses) * bench.scale.images / took,
        "failures": [course.failure for course in courses if course.failure],
        "--trials-per-gpu auto": len(plan_places(None, gpus, cores, None)),
    }


def memory(bench: Bench) -> Row:
    """A batch that a share of the card can't hold, then one that it can, in the same process."""
    share = {"gpu_memory_mb": bench.scale.least_memory} if visible_gpus() else {}
    process = bench.start(bench.place(**share))
    try:
        large = trained(process, config_of(batch_size=bench.scale.too_large, epochs=1))
        small = trained(process, config_of(batch_size=32, epochs=1))
    finally:
        process.kill()
    return {
        "the large batch": large.failure or "trained: it fits",
        "survived": not small.failure and len(small.history) == 1,
    }


def killed(bench: Bench) -> Row:
    """A training that is killed in its second epoch and goes on in another process, beside one that is not."""
    config, checkpoints = config_of(epochs=3, batch_size=32), bench.folder / "checkpoints"
    process = bench.start(bench.place())
    try:
        whole = trained(process, config)
        broken = trained(process, config, checkpoints, killed_in=2)
        process = bench.start(bench.place())
        resumed = trained(process, config, checkpoints)
    finally:
        process.kill()
    losses = [[metrics.val_loss or 0.0 for metrics in course.history] for course in (whole, resumed)]
    return {
        "epochs before it was killed": len(broken.history),
        "went on after epoch": resumed.began_with,
        "epochs": len(resumed.history),
        "bit-equal": losses[0] == losses[1],
        "loss, largest difference": max((abs(a - b) for a, b in zip(*losses, strict=False)), default=None),
    }


def search(bench: Bench, preset: str) -> Row:
    """`alexsearch run`, from a cold start, then its best trained on all images and measured on the test images."""
    home, recipe = bench.folder / f"home-{preset}", bench.folder / f"{preset}.toml"
    common = ["--home", str(home)]
    options = ["--data", bench.data, "--trials-per-gpu", "auto", *bench.scale.run]
    begun = time.perf_counter()
    _alexsearch("run", preset, *common, *options)
    took = time.perf_counter() - begun
    status = json.loads(_alexsearch("status", "--study", preset, *common, "--json"))
    _alexsearch("export", "--study", preset, *common, "-o", str(recipe))
    begun = time.perf_counter()
    _alexsearch("retrain", str(recipe), *common, "--data", bench.data, "--out", str(bench.folder / f"out-{preset}"))
    metrics = json.loads((bench.folder / f"out-{preset}" / "metrics.json").read_text())
    return {
        "seconds": took,
        "trials": status["counts"],
        "best, on validation images": metrics["searched"],
        "its best retrained, on test images": metrics["mean"],
        "report": metrics["report"],
        "seconds of the retraining": time.perf_counter() - begun,
        "config": metrics["config"],
    }


def _alexsearch(*arguments: str) -> str:
    command = [sys.executable, "-m", "search.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"alexsearch {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def rows_of(scale: Scale) -> dict[str, Callable[[Bench], Row]]:
    """All rows by name, in their order."""
    return {
        "trains": trains,
        **{f"batch {size}": partial(batch, size=size) for size in scale.batch_sizes},
        **{f"together {count}": partial(together, count=count) for count in scale.together},
        "memory": memory,
        "killed": killed,
        **{f"run {preset}": partial(search, preset=preset) for preset in scale.presets},
    }


def measured(bench: Bench, measure: Callable[[Bench], Row]) -> Row:
    """One row; what goes wrong, or takes longer than there is time, is one too."""
    left = bench.deadline - time.monotonic()
    if left < 1:
        return {"left out": "no time was left"}

    def too_long(_signal: int, _frame: object) -> None:
        raise TimeoutError("it was not done when the time was up")

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        return measure(bench)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the next rows may still tell something
        return {"failed": f"{type(error).__name__}: {error}"[:2000]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def shown(value: object) -> str:
    match value:
        case Spread():
            return value.shown(2 if value.median < 100 else 0)
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
        case list() | tuple():
            return ", ".join(map(shown, value))
    return str(value)


def few_images(folder: Path) -> str:
    """A few made-up images as a file: on a CPU a thousand take seconds."""
    parts = {"train": load_training("synthetic", folder), "test": load_test("synthetic", folder)}
    arrays: dict[str, Any] = {}
    for part, images in parts.items():
        arrays |= {f"x_{part}": images.images[:400], f"y_{part}": images.labels[:400]}
    np.savez(folder / "few.npz", **arrays, allow_pickle=False)
    return str(folder / "few.npz")


def run(data: str | None, scale: Scale, out: Path, seconds: float, only: Sequence[str] = ()) -> list[Row]:
    """Measure all rows, or those that are named, and write each to `out` as soon as it is known.

    Without `data`, over a few made-up images.
    """
    found: list[Row] = []
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="alexsearch-gpu-") as name:
        bench = Bench(data or few_images(Path(name)), scale, Path(name), deadline)
        for called, measure in rows_of(scale).items():
            if only and called not in only:
                continue
            begun = time.perf_counter()
            found.append({"row": called, **measured(bench, measure), "took": time.perf_counter() - begun})
            write_text(out, json.dumps(found, default=vars, indent=2) + "\n")
            print(called, *(f"  {key}: {shown(value)}" for key, value in found[-1].items() if key != "row"), sep="\n")
            sys.stdout.flush()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="as `alexsearch run --data` takes it; cifar10, or with --small made-up images")
    parser.add_argument("--small", action="store_true", help="a minute on a CPU: to see that it runs")
    parser.add_argument("--minutes", type=float, default=25.0, help="no row is begun, and none goes on, after them")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE", help="file to write")
    parser.add_argument("--only", nargs="+", default=(), metavar="ROW", help="these rows")
    asked = parser.parse_args()
    data, scale = (None, SMALL) if asked.small else ("cifar10", FULL)
    run(asked.data or data, scale, asked.json, 60 * asked.minutes, asked.only)


if __name__ == "__main__":
    main()
