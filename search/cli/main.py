"""The command `alexsearch`. A command parses, calls one function of the library and prints.

Exit codes: 0 done, 1 a failure while running, 2 wrong usage or input, 130 interrupted by Ctrl-C, 143 terminated.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from search.cli.machine import MACHINE
from search.cli.options import (
    Commands,
)
from search.cli.queueing import QUEUE
from search.cli.recipes import RECIPES
from search.cli.running import RUNNING
from search.cli.show import SHOW
from search.cli.studies import STUDY
from search.cli.use import USE

if TYPE_CHECKING:
    pass


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="alexsearch")
def main() -> None:
    """Search the hyperparameters of your own training, or of an AlexNet on CIFAR-10.

    \b
    alexsearch run my.toml               search; run it again to continue
    alexsearch run quick                 ... a preset, to see how it goes
    alexsearch dashboard                 look at it in a browser
    alexsearch best                      the best configuration found
    alexsearch export -o best.toml       ... as a file
    alexsearch retrain best.toml         train it on everything and open the test set
    alexsearch verify                    compare the best few on fresh seeds first
    """
    os.umask(os.umask(0o077) | 0o077)  # what is written is for its owner: logs, databases, models


for command in (*RUNNING, *QUEUE, *STUDY, *SHOW, *RECIPES, *USE, *MACHINE):
    main.add_command(command)


if __name__ == "__main__":
    main()
