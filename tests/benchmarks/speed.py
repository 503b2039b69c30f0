"""How fast is one training? Against the report's own way, against PyTorch, and against what the machine can do.

    pip install torch==2.13.0                                   # only for this comparison; without it, it is left out
    python tests/benchmarks/speed.py --data cifar10.npz [--plot memory.png] [--json speed.json]

Each contender is a process of its own, and they take turns epoch by epoch, so that what else the machine does hits
all of them. An epoch is all training images and then a fifth as many to validate on; images/s are the training images
over the time of both. Then a training process as a search uses it: what its first and second trial cost beyond their
training, and how it grows over many trials. Figures are medians, with the least and the most in brackets.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from model.config import DataSpec, TrainConfig
from model.device import available_cores
from model.network import HIDDEN_UNITS, IMAGE_SHAPE, STAGES
from search.training.child import Child
from search.training.messages import Epoch, Failed, Finished, Train, Verdict
from search.training.places import Place

CONTENDERS = ("ours", "ours-float32", "report", "pytorch")
SETTLED_TRIALS = 10
"""Growth is counted from here: by then a process has everything that it keeps."""


@dataclass(frozen=True)
class Spread:
    """A figure measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, digits: int = 0) -> str:
        return f"{self.median:.{digits}f} [{self.least:.{digits}f}, {self.most:.{digits}f}]"


class Contender:
    """One way of training, in its process."""

    def __init__(self, kind: str, data: str, images: int, folder: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("contenders.py")), kind]
        command += ["--data", data, "--cache", str(folder / "cache"), "--images", str(images)]
        self.kind = kind
        self._log = folder / f"{kind}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.about = self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.kind} ended:\n{self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def forward_flop() -> int:
    """Multiplications and additions of the plain network for one image, forward, its Dense and Conv2D layers only."""
    side, channels, products = 2 * IMAGE_SHAPE[0], IMAGE_SHAPE[2], 0
    for stage in STAGES:
        if stage.padding == "valid":
            side -= stage.kernel - 1
        side = -(-side // stage.stride)
        products += side**2 * stage.kernel**2 * channels * stage.filters
        channels, side = stage.filters, side // stage.pool
    units = side**2 * channels
    return 2 * (products + units * HIDDEN_UNITS + HIDDEN_UNITS**2 + HIDDEN_UNITS * 10)


def first_convolution_flop() -> int:
    stage = STAGES[0]
    side = -(-(2 * IMAGE_SHAPE[0] - stage.kernel + 1) // stage.stride)
    return 2 * side**2 * stage.kernel**2 * IMAGE_SHAPE[2] * stage.filters


def epoch_flop(images: int) -> float:
    """Of an epoch with its validation: a training step costs the forward pass three times, but for the gradient of the
    image, which nobody needs."""
    return images * (3 * forward_flop() - first_convolution_flop()) + images // 5 * forward_flop()


def compare(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Whole epochs of every contender at every batch size, taking turns, and the matrix product's rate beside them."""
    kinds = [kind for kind in CONTENDERS if kind != "pytorch" or importlib.util.find_spec("torch")]
    contenders = [Contender(kind, asked.data, asked.images, folder) for kind in kinds]
    seconds: dict[tuple[str, int], list[float]] = {(kind, size): [] for kind in kinds for size in asked.batch_sizes}
    rates: dict[str, list[float]] = {"ours": [], "ours-float32": []}
    try:
        for size in asked.batch_sizes:
            for contender in contenders:
                told(f"{contender.kind} warms up at batch {size}")
                contender.ask(f"warm {size}")
        for round_ in range(asked.rounds):
            for size in asked.batch_sizes:
                for contender in contenders[round_ % len(kinds) :] + contenders[: round_ % len(kinds)]:
                    took = contender.ask(str(size))["seconds"]
                    told(f"round {round_ + 1} of {asked.rounds}: {contender.kind} at batch {size}: {took:.1f} s")
                    seconds[contender.kind, size].append(took)
            for contender in contenders:
                if contender.kind in rates:
                    rates[contender.kind].append(contender.ask("matmul")["flops"])
    finally:
        for contender in contenders:
            contender.close()
    return {
        "contenders": {contender.kind: contender.about for contender in contenders},
        "matmul_gflops": {kind: Spread.of([rate / 1e9 for rate in found]) for kind, found in rates.items()},
        "rows": [row(kind, size, seconds, rates, asked.images) for size in asked.batch_sizes for kind in kinds],
    }


def row(
    kind: str, size: int, seconds: dict[tuple[str, int], list[float]], rates: dict[str, list[float]], images: int
) -> dict[str, Any]:
    """What one contender came to at one batch size, round against round."""
    own = seconds[kind, size]
    found: dict[str, Any] = {"contender": kind, "batch_size": size}
    found["images_per_second"] = Spread.of([images / took for took in own])
    for other in ("report", "pytorch"):
        if kind != other and (other, size) in seconds:
            found[f"times_{other}"] = Spread.of([a / b for a, b in zip(seconds[other, size], own, strict=True)])
    if kind in rates:
        shares = [epoch_flop(images) / took / rate for rate, took in zip(rates[kind], own, strict=True)]
        found["matmul_share"] = Spread.of(shares)
    return found


class Process:
    """A training process as a search uses it, told one trial after another."""

    def __init__(self, data: DataSpec, folder: Path) -> None:
        self.data, self.folder, self.trials = data, folder, 0
        self._child = self._start()

    def _start(self) -> Child:
        child = Child(Place(0, "benchmark"), self.data, self.folder / "cache", self.folder / "trainer.log")
        child.wait_ready(threading.Event())
        return child

    def replace_outgrown(self) -> None:
        if self._child.outgrown():
            self._child.kill()
            self._child = self._start()

    def train(self, **values: Any) -> tuple[float, list[float]]:
        """Seconds of a whole trial, and of each of its epochs."""
        self.trials += 1
        config = TrainConfig.model_validate({"learning_rate": 0.001, **values})
        checkpoints = self.folder / f"trial-{self.trials}"
        begun, epochs = time.perf_counter(), []
        self._child.send(Train(trial=self.trials, config=config, checkpoints=checkpoints))
        while not isinstance(message := self._child.receive(600.0), Finished):
            assert message is not None, "silent for ten minutes"
            assert not isinstance(message, Failed), message
            if isinstance(message, Epoch):
                epochs.append(message.metrics.seconds)
                self._child.send(Verdict(trial=self.trials, epoch=len(epochs), go=True))
        return time.perf_counter() - begun, epochs

    @property
    def megabytes(self) -> float:
        return float(psutil.Process(self._child.pid).memory_info().rss / 2**20)

    def close(self) -> None:
        self._child.kill()


def overheads(asked: argparse.Namespace, folder: Path) -> dict[str, Spread]:
    """Seconds that trials of a process take beyond training: their epochs at the pace of a steady one."""
    data = DataSpec(source=asked.data, train_images=4000, validation_images=800)
    values = {"batch_size": 64, "epochs": 3}
    found: dict[str, list[float]] = {}
    for round_ in range(asked.rounds):
        begun = time.perf_counter()
        process = Process(data, folder / f"process-{round_}")
        try:
            process.train(**values)
            first = time.perf_counter() - begun
            second, epochs = process.train(**values)
            steady = 3 * min(epochs)
            other_rate, _ = process.train(**{**values, "learning_rate": 0.0123})
            _, new = process.train(**{**values, "batch_size": 80})
        finally:
            process.close()
        for name, value in {
            "first trial of a process": first - steady,
            "second trial": second - steady,
            "trial with another learning rate": other_rate - steady,
            "first epoch of another batch size": new[0] - min(new),
        }.items():
            found.setdefault(name, []).append(value)
    return {name: Spread.of(values) for name, values in found.items()}


def memory(asked: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Resident megabytes of a slot's process after each of many short trials, over two ways of choosing the batch size.

    As in a search, the process is replaced where it has outgrown itself.
    """
    data = DataSpec(source=asked.data, train_images=1024, validation_images=200)
    choices = (16, 32, 64, 96, 128, 192, 256, 384, 512)
    series = {
        "9 batch sizes in turn": [choices[i % len(choices)] for i in range(asked.trials)],
        "a batch size of its own each": [16 + (i * 37) % 497 for i in range(asked.trials)],
    }
    found: dict[str, list[float]] = {}
    for name, sizes in series.items():
        told(f"memory: {asked.trials} trials, {name}")
        process = Process(data, folder / name.replace(" ", "-"))
        try:
            found[name] = []
            for number, size in enumerate(sizes):
                process.train(batch_size=size, epochs=1, learning_rate=0.001 * (1 + number % 7))
                found[name].append(process.megabytes)
                process.replace_outgrown()
        finally:
            process.close()
    return found


def growth(megabytes: Sequence[float]) -> float:
    return max(megabytes[SETTLED_TRIALS:]) - megabytes[SETTLED_TRIALS - 1]


def plot(series: dict[str, list[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, megabytes in series.items():
        axes.plot(range(1, len(megabytes) + 1), megabytes, label=f"{name}: {growth(megabytes):+.0f} MB")
    axes.set(xlabel="trials of one process", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(found: dict[str, Any]) -> None:
    print(f"{found['contenders']['ours'].get('device')}, {found['cores']} cores, {found['images']} images an epoch")
    for kind, about in found["contenders"].items():
        print(f"  {kind}: {', '.join(f'{key} {value}' for key, value in about.items() if key != 'device')}")
    for kind, rate in found["matmul_gflops"].items():
        print(f"  matrix product, {found['contenders'][kind]['precision']}: {rate.shown()} GFLOP/s")
    print(f"\n{'':14}{'batch':>6}  {'images/s':22}{'times report':22}{'times PyTorch':22}share of matrix product")
    for row in found["rows"]:
        cells = [row["images_per_second"].shown()]
        cells += [row[key].shown(2) if key in row else "" for key in ("times_report", "times_pytorch")]
        share = f"{row['matmul_share'].median:.0%}" if "matmul_share" in row else ""
        print(f"{row['contender']:14}{row['batch_size']:>6}  {''.join(f'{cell:22}' for cell in cells)}{share}")
    print("\nseconds beyond training")
    for name, value in found["overheads"].items():
        print(f"  {name:36}{value.shown(2)}")
    print(f"\nmemory after {found['trials']} trials, growth since trial {SETTLED_TRIALS}")
    for name, megabytes in found["memory"].items():
        print(f"  {name:36}{megabytes[-1]:.0f} MB, {growth(megabytes):+.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="as `alexsearch run --data` takes it")
    parser.add_argument("--images", type=int, default=20_000, help="training images of an epoch")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=200, help="of one process, to see it grow")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw memory over trials")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured as JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alexsearch-speed-") as name:
        folder = Path(name)
        found: dict[str, Any] = {"cores": available_cores(), "images": asked.images, "trials": asked.trials}
        found |= compare(asked, folder)
        found["overheads"] = overheads(asked, folder)
        found["memory"] = memory(asked, folder)
    if asked.plot:
        plot(found["memory"], asked.plot)
    if asked.json:
        asked.json.write_text(json.dumps(found, default=vars, indent=2) + "\n")
    show(found)


if __name__ == "__main__":
    main()
