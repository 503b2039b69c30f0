# %% [markdown]
# # A search from a notebook
#
# Four short trainings of an AlexNet on scikit-learn's handwritten digits, which are in every installation: a look at
# how the pieces fit together, in about half a minute. Run it as a script, or cell by cell where `# %%` is understood.

# %%
from search import api

# %% What is searched: a preset's name would do as well, or a file
space = {
    "study": {"name": "example", "trials": 4},
    "data": {"source": "digits", "validation_images": 300},
    "space": {
        "batch_size": {"choices": [32, 64]},
        "learning_rate": {"low": 0.003, "high": 0.1, "log": True},
        "epochs": {"low": 1, "high": 2},
    },
    "baseline": {"batch_size": 32, "learning_rate": 0.01, "epochs": 2},
}
study = api.run(space, home="runs")

# %% What came of it
print(study.counts)
print(f"trial {study.best.number}: {study.best.value:.4f} with {study.best.params}")
print(f"gain over the baseline: {study.findings.gain_over_baseline:+.4f}")
print(f"cost: {study.findings.ledger.device_seconds:.0f} device-seconds")

# %% A figure is plotly's own object: as the last line of a cell it is shown
curves = api.figure(study, "learning-curves")
curves

# %% Everything in one file
print(api.report(study, "example.html"))

# %% The best configuration: read it, keep it, train it on all images and open the test set
recipe = api.best_recipe(study)
print(recipe.config)
print(api.save_recipe(recipe, "example.toml"))
verified = api.retrain(recipe, seeds=1, home="runs")
print(f"on the test images: {verified['mean']:.4f}")
