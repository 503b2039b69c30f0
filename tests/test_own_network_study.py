"""A study of a network of one's own, from its space file to its retrained best."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.retraining.recipe import NetworkRecipe, read_recipe

NETWORK = """
import keras
from keras import layers

def build(image_shape, classes, *, width):
    inputs = keras.Input(image_shape)
    hidden = layers.Dense(width, activation="relu")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(classes)(layers.Dropout(0.1)(hidden)))
"""
SPACE = """
[study]
name = "net"
trials = 2
[data]
source = "digits"
validation_images = 300
[model]
network = "mynet.py:build"
[space]
batch_size = 50
learning_rate = { low = 0.05, high = 0.2, log = true }
epochs = 2
width = { low = 16, high = 32, step = 16 }
"""


def typed(*words: str, code: int = 0) -> str:
    """In a process of its own: TensorFlow takes its number of threads once."""
    command = [sys.executable, "-m", "search.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_network_of_ones_own_is_searched_exported_retrained_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mynet.py").write_text(NETWORK)
    Path("my.toml").write_text(SPACE)
    assert "2 of 2 settled: 2 complete" in typed("run", "my.toml")
    typed("export", "-o", "best.toml")
    recipe = read_recipe(Path("best.toml"))
    assert isinstance(recipe, NetworkRecipe)
    assert recipe.config.network is not None
    assert recipe.config.network["width"] in (16, 32)
    assert not recipe.edited
    output = typed("retrain", "best.toml")
    assert "written to study net" in output
    folder = Path(f"runs/net/retrain/trial-{recipe.trial:05d}")
    document = json.loads((folder / "metrics.json").read_text())
    assert document["mean"] > 0.5
    assert document["report"] is None
    assert "report" not in output.partition("\n\n")[2].partition("\n")[0]
    assert f"accuracy {document['mean']:.4f}" in typed("evaluate", str(folder / "best.keras"), "--data", "digits")
    assert "bit for bit" in typed("replay", "--trial", str(recipe.trial))
    Path("mynet.py").write_text(NETWORK + "\n# changed\n")
    assert "another version of its network's file" in typed("run", "my.toml", "--add", "1", code=2)
    told = typed("retrain", "best.toml", "--out", "again")
    assert "mynet.py:build has changed since the search" in told
    assert "not written to a study: its file has changed since" in told
