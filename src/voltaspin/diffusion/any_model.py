"""Any torch model with an example input: from a folder of diffusers, or from a function in a file of the user.

Of a folder, only JSON is read, and nothing can run code: shapes follow from it. A file of the user is run.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from voltaspin.core.errors import InputError, nearest
from voltaspin.core.files import read_json
from voltaspin.diffusion.network_inputs import REMEDY, inputs_of
from voltaspin.diffusion.pipelines import check_folder, part_home
from voltaspin.diffusion.soundness import diffusers_silent, first_line
from voltaspin.memory import NetworkTrace, trace

_PARTS = ("unet", "transformer", "prior")  # names of a pipeline's network, the first that is there
_MOST = {"layers": 1000, "": 1 << 24}  # values of a configuration, by a part of their names
_LONGEST = 256  # list of a configuration


@dataclass(frozen=True)
class LoadedModel:
    """A model with the input of one evaluation for one image.

    Args:
        module: in evaluation mode; a folder's lies on PyTorch's meta device and has no weights.
        args, kwargs: of one call; the first axis of the first tensor counts images.
        name: the folder or function that it came from.
        assumed: what the example takes for granted, in words.
        remedy: what helps where the model does not take the example.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str
    assumed: tuple[str, ...] = ()
    remedy: str = "check the example"

    def trace(self) -> NetworkTrace:
        """Trace one evaluation.

        Raises:
            InputError: the model does not take the example.
        """
        try:
            found = trace(self.module, *self.args, **self.kwargs)
        except InputError as error:
            raise InputError(f"{self.name}: {error}; {self.remedy}") from None
        return found.model_copy(update={"assumed": self.assumed})


def build(text: str) -> LoadedModel:
    """Return the model that a text names, with an example input.

    Args:
        text: a folder of diffusers: a pipeline whose network is ``unet``, ``transformer`` or ``prior``, or a network
            with its ``config.json``. Or ``module.py:function`` or ``package.module:function``: the file is run, and the
            function returns the model or a pair (model, example), where the example is a tensor, a tuple of arguments
            or a dict of keyword arguments. Of a folder only JSON is read: shapes follow from it, and its network lies
            on PyTorch's meta device, without weights.

    Raises:
        InputError: no such folder, file or function; the file or the function fails; no model or no example.
    """
    if ":" in text and not Path(text).exists():
        return _from_function(text)
    folder = Path(text)
    if folder.suffix == ".py":
        raise InputError(f"{text} names no function; give {text}:FUNCTION, which returns the model or (model, example)")
    check_folder(folder)
    return _from_folder(folder)


# Folders of diffusers


def _from_folder(folder: Path) -> LoadedModel:
    home = _network_home(folder)
    config = _config(home)
    name = config.get("_class_name")
    kind = _class(name, home)
    module = _of_shapes(home, kind, config)
    try:
        kwargs, assumed = inputs_of(module)
    except InputError as error:
        raise InputError(f"{home}: {error}") from None
    if not any(home.glob("*.safetensors")):
        assumed = (*assumed, "the folder holds no weights; everything follows from its config.json")
    return LoadedModel(module.eval(), (), kwargs, str(folder), assumed, REMEDY)


def _network_home(folder: Path) -> Path:
    """The folder of the network's config.json."""
    index = folder / "model_index.json"
    if not index.is_file():
        if (folder / "config.json").is_file():
            return folder
        for part in _PARTS:
            if (folder / part / "config.json").is_file():
                return folder / part
        raise InputError(
            f"{folder} holds neither model_index.json nor config.json; give a folder that diffusers saved, or {REMEDY}"
        )
    parts = read_json(index)
    if not isinstance(parts, dict):
        raise InputError(f"{index} is no JSON object; fetch the model again")
    for part in _PARTS:
        named = parts.get(part)
        if isinstance(named, list) and len(named) == 2 and named != [None, None]:
            if named[0] != "diffusers":
                raise InputError(f"{index}: {part} is a {named[1]} of {named[0]}, whose code is not run; {REMEDY}")
            return part_home(folder, part)
    others = ", ".join(k for k, v in parts.items() if isinstance(v, list) and (folder / k / "config.json").is_file())
    raise InputError(
        f"{index} names none of {', '.join(_PARTS)}; give the folder of the network itself, "
        + (f"one of: {others}" if others else f"or {REMEDY}")
    )


def _config(home: Path) -> dict[str, Any]:
    """The configuration of a network, with numbers of which one can be built."""
    file = home / "config.json"
    config = read_json(file)
    if not isinstance(config, dict):
        raise InputError(f"{file} is no JSON object; fetch the model again")

    def check(name: str, value: Any) -> None:
        if isinstance(value, list | tuple):
            if len(value) > _LONGEST:
                raise InputError(f"{file}: {name} lists {len(value)} things; {_LONGEST} are the most")
            for each in value:
                check(name, each)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            most = next(limit for word, limit in _MOST.items() if word in name)
            if not math.isfinite(value) or abs(value) > most:
                raise InputError(f"{file}: {name} is {value}, no number up to {most:,}; fetch the model again")

    for name, value in config.items():
        check(name, value)
    return config


def _class(name: Any, home: Path) -> Any:
    import diffusers

    kind = getattr(diffusers, str(name), None) if isinstance(name, str) else None
    if not (inspect.isclass(kind) and issubclass(kind, diffusers.ModelMixin)):
        where = f"{home / 'config.json'}: _class_name is {name!r}"
        if kind is not None and getattr(kind, "__module__", "").startswith("diffusers.utils.dummy"):
            raise InputError(f"{where}, which needs more packages; pip install transformers")
        raise InputError(f"{where}, no network of diffusers {diffusers.__version__}; {REMEDY}")
    return kind


@diffusers_silent()
def _of_shapes(home: Path, kind: Any, config: dict[str, Any]) -> Any:
    """The network without values, which takes no memory."""
    from accelerate import init_empty_weights

    why = ""
    for empty in (lambda: torch.device("meta"), init_empty_weights):
        try:
            with empty():
                return kind.from_config(dict(config))
        except Exception as error:  # whatever diffusers makes of sizes that fit nothing
            why = first_line(error)
    raise InputError(f"{home / 'config.json'} makes no {kind.__name__} ({why}); fetch the model again")


# Functions of the user


def _from_function(text: str) -> LoadedModel:
    where, _, name = text.rpartition(":")
    if not where or not name.isidentifier():
        raise InputError(
            f"{text!r} names no function; give module.py:function or package.module:function, or a folder of diffusers"
        )
    with _user_code():
        module = _imported(where)
        thing = getattr(module, name, None)
        if thing is None:
            there = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            own = [n for n in there if getattr(vars(module)[n], "__module__", "") == module.__name__] or there
            raise InputError(
                f"{where} has no {name}{nearest(name, own) or ';'} callables there: {', '.join(own) or 'none'}"
            )
        made: Any = thing if isinstance(thing, nn.Module) else _called(text, thing)
    pair = isinstance(made, tuple | list) and len(made) == 2
    network, example = made if pair else (made, None)
    if not isinstance(network, nn.Module):
        hint = "; return its unet or transformer" if hasattr(network, "scheduler") else ""
        raise InputError(
            f"{text} returns a {type(made).__name__}, not a torch.nn.Module or a pair (model, example){hint}"
        )
    network.eval()
    if example is None:
        try:
            kwargs, assumed = inputs_of(network)
        except InputError:
            raise InputError(
                f"{text} returns a {type(network).__name__} without an example; return (model, example), where the "
                "example is the input of one image: a tensor, a tuple of arguments or a dict of keyword arguments"
            ) from None
        return LoadedModel(network, (), kwargs, text, assumed)
    if torch.is_tensor(example):
        return LoadedModel(network, (example,), {}, text)
    if isinstance(example, dict) and all(isinstance(key, str) for key in example):
        return LoadedModel(network, (), dict(example), text)
    if isinstance(example, tuple | list):
        return LoadedModel(network, tuple(example), {}, text)
    raise InputError(
        f"{text} returns an example of type {type(example).__name__}; give a tensor, a tuple of arguments or a dict of "
        "keyword arguments"
    )


@contextmanager
def _user_code() -> Iterator[None]:
    """Code of the user prints beside our output, finds modules here, and leaves no compiled files."""
    path, compiled = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(Path.cwd()))
    sys.dont_write_bytecode = True
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, compiled


def _imported(where: str) -> ModuleType:
    """Run the user's file, or import the module."""
    file = Path(where)
    if file.suffix != ".py":
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
                raise InputError(
                    f"no module {where!r} can be imported here; give the path of its file, module.py:function, or a "
                    "folder of diffusers"
                ) from None
            raise _failed(where, error) from None
        except (Exception, SystemExit) as error:
            raise _failed(where, error) from None
    if not file.is_file():
        raise InputError(f"{where} does not exist; give the path of a Python file, module.py:function")
    name = f"_voltaspin_model_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(where, error) from None
    return module


def _called(text: str, function: Any) -> Any:
    if not callable(function):
        raise InputError(f"{text} is a {type(function).__name__}, not a function; give one that returns the model")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = []  # type: ignore[assignment]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise InputError(
            f"{text} needs {', '.join(needed)}; give a function without arguments that calls it, or give them defaults"
        )
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise _failed(text, error) from None


def _failed(what: str, error: BaseException) -> InputError:
    """One line for an exception in the user's code, with the line of the user's file."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
    ]  # fmt: skip
    lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]  # those of the user's file
    line = lines[-1] if lines else getattr(error, "lineno", None)
    at = f" at line {line}" if line is not None else ""
    says = first_line(error)
    said = says if says == type(error).__name__ else f"{type(error).__name__}: {says}"
    full = isinstance(error, MemoryError) or "alloc" in says
    more = "; build a model that is too large 'with torch.device(\"meta\")', shapes are enough" if full else ""
    return InputError(f"{what} fails{at}: {said}{more}")
