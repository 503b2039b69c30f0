"""A network of one's own: the function in a Python file that builds it, and what must be true of what it builds.

The file is run as it lies there, in the process that trains, and only if it is the one that was asked for: its SHA-256
is part of the `NetworkSpec`. Its folder joins the end of the module path, so that what lies beside it can be imported
and nothing of it can take the place of another module.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import tensorflow as tf

from model.config import NetworkError, NetworkSpec, OutOfMemoryError, Scalar, ValuesError
from model.our_keras import global_seed_generator, keras
from model.saved import own_parts

Builder = Callable[..., Any]
"""Called as `builder(image_shape, classes, **values)`, it returns a keras.Model."""
Shape = tuple[int, int, int]
"""Height, width and channels of an image."""

_SAMPLE: Final = 4
"""On how many images a network is tried before it is trained."""
_SUM_TOLERANCE: Final = 0.02
"""Rounding of bfloat16 over many classes."""
_CLIP: Final = 1e-7
"""As Keras clips probabilities before it takes their logarithm."""
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A network that was built and is as it must be."""

    model: keras.Model
    probabilities: bool
    """Whether it ends in softmax; else in logits."""
    raw: bool
    """Whether its input is declared as uint8: it then takes the pixels as they are, else standardised images."""
    described: str
    """Its architecture as JSON, as Keras describes it."""
    own_parts: tuple[str, ...]
    """The layers and functions in it that are not Keras' own: a saved file of it can't be loaded without them."""

    variables: tuple[keras.Variable, ...]
    """All that training changes: weights, statistics, and what its random layers draw next."""

    def logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """float32 (N, classes), of what the model gives."""
        if not self.probabilities:
            return tf.cast(outputs, tf.float32)
        # Keras leaves what its softmax was taken of at the result: its own losses go by that too.
        before = getattr(outputs, "_keras_logits", None)
        if before is not None:
            return tf.cast(before, tf.float32)
        return tf.math.log(tf.clip_by_value(tf.cast(outputs, tf.float32), _CLIP, 1 - _CLIP))


def load_builder(spec: NetworkSpec) -> Builder:
    """The function that the file defines; the file is run once in this process.

    Raises:
        NetworkError: the file is missing, is not the one that was asked for, fails, or has no such function.
    """
    path = Path(spec.file)
    module = load_module(path, spec.sha256)
    builder: Builder | None = getattr(module, spec.function, None)
    if callable(builder):
        return builder
    found = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    raise NetworkError(
        f"{path.name} has no function {spec.function!r}; it has {', '.join(found) or 'none'}. Name one of its "
        f'functions, as in network = "{path.name}:{(found or ["build"])[0]}".'
    )


def load_module(path: Path, sha256: str | None = None) -> ModuleType:
    """The file as a module, run once in a process. Raises NetworkError as `load_builder` does."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetworkError(f"{path} can't be read ({error.strerror}). It is the file of the network.") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise NetworkError(
            f"{path} has changed: its SHA-256 is {found[:12]}..., but the network that was asked for is of a file with "
            f"{sha256[:12]}.... Put that one back, or begin a new study with this one."
        )
    name = _module_name(path)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__sha256__", None) == found:
        return loaded
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    _check_imports(path, content)
    module = ModuleType(name)
    module.__file__ = str(path)
    vars(module)["__sha256__"] = found
    sys.modules[name] = module  # before it runs: dataclasses and Keras' registry look there
    try:
        exec(compile(content, str(path), "exec"), vars(module))  # noqa: S102 - what the user asks for
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise NetworkError(f"{path.name} fails when it is loaded: {_where(error, path)}. Mend the file.") from error
    finally:
        keras.config.set_dtype_policy("float32")
    return module


def defined_by(path: Path) -> dict[str, Any]:
    """The layers and functions of a Python file, which is run, and of what it imports that lies beside it.

    Raises:
        NetworkError: as `load_builder` does.
    """
    path = path.resolve()
    load_module(path)
    found: dict[str, Any] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(path.parent):
            found |= {name: value for name, value in vars(module).items() if callable(value)}
    return found


def _module_name(path: Path) -> str:
    """The file's own name if nothing else has it: what is saved of the file's own layers names their module."""
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        taken = getattr(loaded, "__file__", None) != str(path)
    else:
        found = _found(path.stem)
        taken = found is not None and found.origin != str(path)
    return f"network_file_{path.stem}" if taken else path.stem


def _found(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # something odd in sys.modules
        return None


def _check_imports(path: Path, content: bytes) -> None:
    """Raises NetworkError where a module beside the file is imported by a name that another module has already."""
    seen: set[Path] = set()
    for file, name, beside in _imported(path, content, seen):
        found = _found(name)
        places = [found.origin, *(found.submodule_search_locations or ())] if found else []
        if not any(place and Path(place).is_relative_to(path.parent) for place in places):
            other = next((place for place in places if place), "Python's own")
            raise NetworkError(
                f"{file.name} imports {name}, and {beside.name} lies beside it, but in this process {name} is another "
                f"module already ({other}). Give {beside.name} a name of its own, e.g. my_{beside.name}."
            )


def _imported(path: Path, content: bytes, seen: set[Path]) -> Iterator[tuple[Path, str, Path]]:
    """The modules beside a file that it imports, and what they import: file, name, and where the module lies."""
    seen.add(path)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # running it says where
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    for name in sorted(names):
        module, package = path.with_name(f"{name}.py"), path.with_name(name)
        if module.is_file():
            yield path, name, module
            if module not in seen:
                yield from _imported(module, module.read_bytes(), seen)
        elif package.is_dir() and any(package.glob("*.py")):
            yield path, name, package


def build(
    spec: NetworkSpec,
    builder: Builder,
    image_shape: Shape,
    classes: int,
    values: Mapping[str, Scalar],
    *,
    seed: int,
    precision: str,
) -> keras.Model:
    """What the builder returns for these values, its weights drawn from the seed and nothing else.

    It is not looked at yet: see `checked`.

    Raises:
        ValuesError: the builder takes other arguments, or fails.
        OutOfMemoryError: there is no room for it.
    """
    check_arguments(spec, builder, values)
    keras.utils.clear_session(free_memory=False)  # names of layers begin anew
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    drawn = np.random.SeedSequence(seed, spawn_key=(2,)).generate_state(1)[0]
    keras.utils.set_random_seed(int(drawn))
    try:
        return builder(image_shape, classes, **values)
    except (Exception, SystemExit) as error:
        raise failed(spec, error, _called(values)) from error
    finally:
        keras.config.set_dtype_policy("float32")


def failed(spec: NetworkSpec, error: BaseException, doing: str) -> ValuesError | OutOfMemoryError:
    """What is said of an error of the user's own code."""
    name = f"{Path(spec.file).name}:{spec.function}"
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return OutOfMemoryError(f"{name} ran out of memory {doing}. Let it build a smaller network.")
    return ValuesError(f"{name} fails {doing}: {_where(error, Path(spec.file))}")


def _called(values: Mapping[str, Scalar]) -> str:
    return f"with {', '.join(f'{name} = {value!r}' for name, value in values.items()) or 'no values'}"


def check_arguments(spec: NetworkSpec, builder: Builder, names: Mapping[str, Scalar]) -> None:
    """Raises ValuesError where the builder takes other arguments than these, both named side by side."""
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):  # something that was written in C says nothing
        return
    try:
        signature.bind((1, 1, 1), 2, **names)
    except TypeError:
        raise ValuesError(
            f"{Path(spec.file).name}:{spec.function} is {spec.function}{signature}, but is called as "
            f"{spec.function}({', '.join(['image_shape', 'classes', *(f'{name}=...' for name in names)])}). Have the "
            "space name what it takes."
        ) from None


def _where(error: BaseException, path: Path) -> str:
    """`mynet.py:12: ValueError: width must be even`: the last line of the user's own that was at work."""
    lines = [
        f"{Path(frame.filename).name}:{frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(path.parent) and "site-packages" not in frame.filename
    ]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append(f"{Path(error.filename).name}:{error.lineno}: ")
        error = type(error)(error.msg)
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}".removesuffix(": "))
    text = " ".join(text.split())
    return f"{lines[-1] if lines else ''}{text[:_LONGEST_REASON]}{'...' if len(text) > _LONGEST_REASON else ''}"


def is_of(error: BaseException, spec: NetworkSpec) -> bool:
    """Whether code beside the user's file was at work when it was raised."""
    folder = Path(spec.file).parent
    return any(
        Path(frame.filename).is_relative_to(folder) and "site-packages" not in frame.filename
        for frame in traceback.extract_tb(error.__traceback__)
    )


def checked(spec: NetworkSpec, model: Any, image_shape: Shape, classes: int) -> OwnNetwork:
    """The network, if it is one that can be trained on such images.

    Raises:
        ValuesError: it is another kind of thing, takes or gives something else, or can't be saved.
        OutOfMemoryError: there is no room for it.
    """
    name = f"{Path(spec.file).name}:{spec.function}"
    if not isinstance(model, keras.Model):
        forgotten = " Does its last line return it?" if model is None else ""
        raise ValuesError(f"{name} must return a keras.Model, but returned {type(model).__name__}.{forgotten}")
    raw = _check_input(model, image_shape, name)
    sample = _sample(image_shape, raw)
    try:
        outputs = model(sample, training=False)
    except Exception as error:
        raise failed(spec, error, f"on images of shape {(None, *image_shape)}") from error
    if isinstance(outputs, (list, tuple, dict)):
        raise ValuesError(f"{name} must give one output (batch, {classes}), but gives {len(outputs)}.")
    if tuple(outputs.shape) != (_SAMPLE, classes):
        given = (None, *outputs.shape[1:])
        raise ValuesError(f"{name} must give (batch, {classes}): a number for each class. It gives {given}.")
    probabilities = _are_probabilities(outputs, name)
    for variable in model.trainable_variables:
        if variable.dtype != "float32":
            raise ValuesError(f"{name}: the weight {variable.path} is {variable.dtype}; weights must be float32.")
    check_is_new(spec, model)
    described = described_by(spec, model)
    parts = own_parts(json.loads(described))
    if "Lambda" in parts:
        raise ValuesError(
            f"{name} has a Lambda layer, which nobody can load from a file safely. Use keras.ops on its input, or a "
            "keras.layers.Layer class in the file."
        )
    drawn_from = (global_seed_generator().state,) if parts else ()
    return OwnNetwork(model, probabilities, raw, described, parts, (*model.variables, *drawn_from))


def check_is_new(spec: NetworkSpec, model: keras.Model) -> None:
    """Raises ValuesError where a weight of it is one that was seen here before: it would not begin untrained."""
    for variable in model.variables:
        if getattr(variable, "_seen_here", False):
            raise ValuesError(
                f"{Path(spec.file).name}:{spec.function} returned weights that an earlier call had returned. Build "
                f"every layer anew in {spec.function}."
            )
    for variable in model.variables:
        variable._seen_here = True


def _check_input(model: keras.Model, image_shape: Shape, name: str) -> bool:
    """Whether the network takes uint8. Raises ValuesError where it takes no such images."""
    try:
        inputs = list(model.inputs or ()) if model.built else []
    except (AttributeError, ValueError):  # a subclass of Model has none, a Sequential without Input none yet
        inputs = []
    if not inputs:
        return False
    if len(inputs) > 1:
        raise ValuesError(f"{name} must take one input, images (batch, *image_shape), but takes {len(inputs)}.")
    taken = tuple(inputs[0].shape)[1:]
    if len(taken) != 3 or any(size not in (None, wanted) for size, wanted in zip(taken, image_shape, strict=True)):
        raise ValuesError(
            f"{name} must take images of shape {(None, *image_shape)}, but takes {tuple(inputs[0].shape)}. Begin with "
            "keras.Input(image_shape)."
        )
    return bool(inputs[0].dtype == "uint8")


def _sample(image_shape: Shape, raw: bool) -> tf.Tensor:
    random = np.random.Generator(np.random.Philox(0))
    if raw:
        return tf.constant(random.integers(0, 256, (_SAMPLE, *image_shape), dtype=np.uint8))
    return tf.constant(random.standard_normal((_SAMPLE, *image_shape), dtype=np.float32))


def _are_probabilities(outputs: tf.Tensor, name: str) -> bool:
    values = tf.cast(outputs, tf.float32).numpy()
    if (values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < _SUM_TOLERANCE).all():
        return True
    before = getattr(outputs, "_keras_logits", None)
    if before is not None and ((values > 0) & (values < 1)).all():
        raise ValuesError(f"{name} ends in a sigmoid. End in softmax, or in a Dense layer without activation.")
    return False


def described_by(spec: NetworkSpec, model: keras.Model) -> str:
    """The architecture as JSON. Raises ValuesError where a layer of the user's own can't say what it is made of."""
    try:
        return str(model.to_json())
    except Exception as error:
        raise ValuesError(
            f"{Path(spec.file).name}:{spec.function}: the network could not be saved: {_where(error, Path(spec.file))}"
        ) from error


def for_others(
    spec: NetworkSpec, model: keras.Model, image_shape: Shape, *, probabilities: bool, raw: bool
) -> keras.Model:
    """The network as it is saved: uint8 images (N, *image_shape) to float32 probabilities, by Keras' own layers.

    Raises:
        ValuesError: it can't be put between them.
    """
    image = keras.Input(image_shape, dtype="uint8", name="image")
    x = image
    if not raw:  # as `build_alexnet` has it
        x = keras.layers.Rescaling(1.0, name="as_float")(x)
        axes = (1, 2, 3)
        x = keras.layers.LayerNormalization(axes, center=False, scale=False, epsilon=1e-6, name="standardize")(x)
    try:
        x = model(x)
    except Exception as error:
        raise failed(spec, error, "on symbolic images, as it is saved") from error
    if not probabilities:
        x = keras.layers.Softmax(name="probabilities")(x)
    return keras.Model(image, x, name=f"{model.name}_of_images")
