"""Where the workers of a run are: threads of this process, actors of a Ray cluster, jobs of Slurm.

`engine.py` is the contract, `process.py` the process `alexsearch worker` that all but the local engine start and watch
on the worker's own host. Each engine is one file behind them, Slurm two: `jobs.py` would do for another scheduler of
jobs. An engine imports its library when it is made, no sooner.
"""
