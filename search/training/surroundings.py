"""What our own processes take over of the environment that the user's shell has, and what of it doctor tells.

A training process and doctor's probes get an environment by list: what finds programs, libraries, the network and the
GPUs, and nothing else. So no password of a database or of the dashboard is in it, and no setting that is meant for the
user's own programs. They are started with `-P`, so that the folder that they are started in decides nothing either.
Training of one's own is the user's program: it gets all but our passwords.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

INHERITED: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"),
        *("PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "CONDA_PREFIX", "XLA_FLAGS", "KERAS_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
        "ALEXSEARCH_PRETEND_GPUS",
    }
)
"""Names of variables, in capitals: `https_proxy` is meant as well."""
INHERITED_PREFIXES: Final = (
    *("LC_", "XDG_", "CUDA", "NVIDIA", "NCCL", "TF_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS", "DNNL_", "ONEDNN_"),
)
BREAKING: Final = frozenset({"TF_USE_LEGACY_KERAS", "TF_CONFIG"})
"""The one asks for another Keras, the other has TensorFlow look for a cluster."""

PASSWORDS: Final = frozenset({"PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGSSLPASSWORD", "PGSSLKEY"})
"""What a database's driver reads, ours too."""


def child_environment(
    environ: Mapping[str, str] = os.environ, *, cuda_devices: str | None = None, threads: int | None = None
) -> dict[str, str]:
    """The environment of a process of ours.

    `cuda_devices` is its CUDA_VISIBLE_DEVICES, None the one that `environ` has; `threads` its threads on the CPU.
    """
    kept = {name: value for name, value in environ.items() if _is_inherited(name)}
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(part for part in kept["PYTHONPATH"].split(os.pathsep) if _is_place(part))
    # Its pipes carry UTF-8 whatever the locale is; TensorFlow's banners would land in the trial's log.
    kept |= {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    kept["KERAS_BACKEND"] = "tensorflow"
    if cuda_devices is not None:
        kept["CUDA_VISIBLE_DEVICES"] = cuda_devices
    if threads:
        kept["OMP_NUM_THREADS"] = str(threads)
    return kept


def own_environment(
    environ: Mapping[str, str] = os.environ, *, cuda_devices: str | None = None, threads: int | None = None
) -> dict[str, str]:
    """The environment of a training of one's own: the user's whole one, whose programs may need any of it.

    Without what is meant for us alone, the passwords of our database and dashboard among it. The arguments are those of
    `child_environment`.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("ALEXSEARCH_")}
    for name in PASSWORDS & set(kept):
        del kept[name]
    if cuda_devices is not None:
        kept["CUDA_VISIBLE_DEVICES"] = cuda_devices
    if threads:
        kept["OMP_NUM_THREADS"] = str(threads)
    return kept


def python_command(*arguments: str) -> Sequence[str]:
    """A command of our own interpreter, which imports nothing from the folder that it is started in."""
    return [sys.executable, "-P", *arguments]


def _is_inherited(name: str) -> bool:
    return name not in BREAKING and (name.upper() in INHERITED or name.startswith(INHERITED_PREFIXES))


def _is_place(part: str) -> bool:
    """Whether a part of PYTHONPATH names a place: an empty one or a dot, easily left behind, is the working folder."""
    return part not in ("", ".")


def telling(environ: Mapping[str, str] = os.environ) -> list[str]:
    """What `environ` holds that matters to a search, a text a variable."""
    told = []
    for name, meaning in _MEANINGS.items():
        if name in environ:
            told.append(f"{name}={environ[name][:200]} ({meaning})")
    if any(not _is_place(part) for part in environ.get("PYTHONPATH", "0").split(os.pathsep)):
        told.append("PYTHONPATH has an empty part, which is the working folder: training processes leave it out")
    ignored = sorted(
        name for name in environ if name in BREAKING or (name.startswith("KERAS_") and name != "KERAS_HOME")
    )
    told += [f"{name} (for your own programs: ignored here)" for name in ignored]
    return told


_MEANINGS: Final = {
    "PYTHONPATH": "modules are looked for there first",
    "PYTHONHOME": "where Python's own library is looked for",
    "CUDA_VISIBLE_DEVICES": "only these GPUs are used; empty or -1: none",
    "ALEXSEARCH_PRETEND_GPUS": "for tests: so many GPUs that are not there",
    "ALEXSEARCH_CORES": "set by an engine: so many of this host's cores are ours",
    "ALEXSEARCH_GPU_SHARERS": "set by an engine: so many workers share each GPU",
    "OMP_NUM_THREADS": "ignored in training on a CPU, whose slots divide its cores",
    "LD_PRELOAD": "loaded into the training processes too",
    "LD_LIBRARY_PATH": "TensorFlow's libraries are looked for there first",
    "XLA_FLAGS": "read by TensorFlow's compiler",
    "TF_XLA_FLAGS": "read by TensorFlow's compiler",
    "TF_ENABLE_ONEDNN_OPTS": "0 takes other kernels on a CPU: slower, and rounded otherwise",
    "TF_FORCE_GPU_ALLOW_GROWTH": "how TensorFlow takes a GPU's memory",
    "KERAS_HOME": "where Keras keeps CIFAR-10",
}
