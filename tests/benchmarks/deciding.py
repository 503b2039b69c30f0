"""How long does it take to decide what is trained next, in a study of a thousand trials?

    python tests/benchmarks/deciding.py --trials 1000

Trials are made up: points of the preset by chance, four fifths of them paused at a rung, the others complete. Measured
on one thread are the processor's seconds to rank them all, as a slot does that is free (`search.choosing.pausing`), and
to propose a new configuration, as `gp` does beside `reach` and beside `pause`. Reading the trials from the database is
`load.py large`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from threadpoolctl import threadpool_limits

from search.choosing.gp import CurveSampler
from search.choosing.pausing import Pausing, PausingSampler
from search.choosing.places import Places
from search.space.files import load_space
from search.space.space import SearchSpace


def made_up(space: SearchSpace, count: int) -> optuna.Study:
    """A study in which so many trials were begun."""
    random, places, pausing = np.random.default_rng(0), Places(space), Pausing(space)
    study = optuna.create_study(direction="maximize")
    for number, params in enumerate(places.drawn(random, {}, count)):
        planned, end, haste = space.epochs_of(params), random.uniform(0.3, 0.75), random.uniform(2, 10)
        is_paused = bool(number % 5 and pausing.rungs(planned))
        last = int(random.choice(pausing.rungs(planned))) if is_paused else planned
        course = {
            epoch: float(end * (1 - math.exp(-epoch / haste)) + random.normal() * 0.005) for epoch in range(1, last + 1)
        }
        study.add_trial(
            create_trial(
                state=TrialState.WAITING if is_paused else TrialState.COMPLETE,
                params=params,
                distributions={name: places.distributions[name] for name in params},
                intermediate_values=course,
                value=None if is_paused else course[last],
            )
        )
    return study


def measured(space: SearchSpace, count: int, times: int) -> dict[str, list[float]]:
    """The seconds that each decision took, so many times."""
    study, distributions, pausing = made_up(space, count), Places(space).distributions, Pausing(space)
    trials = study.get_trials(deepcopy=False)

    def proposing(kind: type[CurveSampler]) -> Callable[[int], object]:
        def propose(at: int) -> object:
            asking = create_trial(state=TrialState.RUNNING)
            asking.number = count + at
            return kind(space, count + at, at, 0, 6).sample_relative(study, asking, distributions)

        return propose

    decisions: dict[str, Callable[[int], object]] = {
        "rank, new ones may begin": lambda _: pausing.rank(trials, may_begin=True),
        "rank, none may begin": lambda _: pausing.rank(trials, may_begin=False),
        "propose, gp and reach": proposing(CurveSampler),
        "propose, gp and pause": proposing(PausingSampler),
    }
    return {name: _seconds(decide, times) for name, decide in decisions.items()}


def _seconds(decide: Callable[[int], object], times: int) -> list[float]:
    decide(0)  # what is imported and kept, once in the life of a host
    took = []
    with threadpool_limits(1):  # of libraries that are loaded by now
        for at in range(1, times + 1):
            begun = time.process_time()
            decide(at)
            took.append(time.process_time() - begun)
    return took


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["hour", "beyond"], metavar="SPACE")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--times", type=int, default=20)
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'space':10} {'decision':26} {'p50':>8} {'p95':>8}   seconds of a processor at {asked.trials:,} trials")
    for name in asked.spaces:
        for decision, seconds in measured(load_space(name), asked.trials, asked.times).items():
            p50, p95 = np.quantile(seconds, [0.5, 0.95])
            print(f"{name:10} {decision:26} {p50:8.3f} {p95:8.3f}", flush=True)


if __name__ == "__main__":
    main()
