"""What training of one's own costs beside the training: a process, a trial, a report, a save.

    python tests/benchmarks/own.py [--rounds 5]

The function of the measured process does nothing but report, or save and report; this program answers as a slot does,
without a database. Medians of the rounds, with the least and the most. All of it happens in a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from search.space.own import OwnConfig, Program
from search.training.child import heard
from search.training.messages import Epoch, Finished, Train, Verdict
from search.training.own_child import OwnChild
from search.training.places import Place

SOURCE = """
def train(trial):
    megabytes = bytes(int(trial.params["megabytes"] * 2**20))
    for epoch in trial.epochs():
        if megabytes:
            trial.save(lambda folder: (folder / "net").write_bytes(megabytes))
        trial.report(epoch, score=epoch)
"""
EPOCHS = {0: 1000, 1: 30, 100: 3}
"""By how many MB are saved an epoch."""
TRIALS = 20


def trained(process: OwnChild, epochs: int, megabytes: float, checkpoints: Path | None) -> float:
    """Seconds of one trial, as its slot sees it."""
    begun = time.perf_counter()
    config = OwnConfig(params={"megabytes": megabytes}, epochs=epochs)
    process.send(Train(trial=0, config=config, checkpoints=checkpoints))
    for message in heard(process, 0, threading.Event()):
        if isinstance(message, Epoch):
            process.send(Verdict(trial=0, epoch=message.metrics.epoch, go=True))
        elif isinstance(message, Finished):
            return time.perf_counter() - begun
    raise AssertionError("it did not finish")


def measured(folder: Path) -> dict[str, float]:
    """Milliseconds of each, in one round."""
    file = folder / "train.py"
    file.write_text(SOURCE)
    program = Program(
        called="train.py:train",
        file=str(file),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        function="train",
        python=sys.executable,
        metric="score",
        has_epochs=True,
        epoch_seconds=60,
        params=("megabytes",),
    )
    begun = time.perf_counter()
    process = OwnChild(Place(0, "cpu"), program, folder / "slot.log")
    try:
        process.wait_ready(threading.Event())
        found = {"a process, from its start until it is ready": time.perf_counter() - begun}
        trials = [trained(process, 1, 0, folder / "none" / str(number)) for number in range(TRIALS)]
        found["a trial of one epoch in that process, its own work aside"] = statistics.median(trials)
        for megabytes, epochs in EPOCHS.items():
            what = f"with a save of {megabytes} MB" if megabytes else "without a save"
            seconds = trained(process, epochs, megabytes, folder / f"{megabytes}" if megabytes else None)
            found[f"an epoch's report and verdict {what}"] = seconds / epochs
    finally:
        begun = time.perf_counter()
        process.kill()
    found["the end of the process"] = time.perf_counter() - begun
    return {name: 1000 * seconds for name, seconds in found.items()}


def main() -> None:
    """Print each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    results = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            results.append(measured(Path(folder)))
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"{name}: {statistics.median(values):.2f} ms [{min(values):.2f}, {max(values):.2f}]")


if __name__ == "__main__":
    main()
