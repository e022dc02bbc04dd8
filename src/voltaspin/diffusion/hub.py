"""Models and data sets of the Hugging Face hub: the one place that asks it for files.

Only kinds of files that cannot run code when they are read are asked for, whatever a repository holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voltaspin.core.errors import InputError
from voltaspin.diffusion.parquet import of_split

Kind = Literal["model", "dataset"]

TIMEOUT = 10.0  #: [s] after which a hub that does not answer is out of reach
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CONVERTED = "refs/convert/parquet"  #: branch of a data set in which the hub itself keeps Parquet files


def is_name(name: str) -> bool:
    """Return whether this may be the name of a repository, ``owner/name``, and is no path here."""
    return bool(_NAME.fullmatch(name)) and not Path(name).exists()


def model_folder(name: str, accept: Callable[[Path], object]) -> Path:
    """Folder of a model's configuration and safetensors weights, from the hub or from its local cache.

    Args:
        name: ``owner/name``.
        accept: given the folder when only its JSON files are there; raises InputError to fetch nothing more.

    Raises:
        InputError: no such model, out of reach and not in the cache, or no weights in safetensors.
    """
    repository = Repository.look_up(name, "model")
    accept(repository.fetch(["*.json"]))
    files = repository.files
    if files is not None and not any(Path(f).name == WEIGHTS for f in files):
        pickles = [f for f in files if Path(f).suffix in PICKLES]
        has = f"only {pickles[0]}, a pickle, which can run code when it is read" if pickles else f"no {WEIGHTS}"
        raise InputError(f"model {name} of the hub has {has}; use a model whose weights are in safetensors")
    return repository.fetch(["*.json", WEIGHTS, f"*/{WEIGHTS}"])


def dataset_files(name: str, split: str) -> list[Path]:
    """Parquet files of one split of a data set, from the hub or from its local cache.

    Raises:
        InputError: no such data set, out of reach and not in the cache, no Parquet files or none of this split, or
            several configurations to choose from.
    """
    repository = Repository.look_up(name, "dataset")
    if repository.files is not None and not repository.tables(repository.files):
        repository = Repository.look_up(name, "dataset", _CONVERTED)
    found = repository.files
    if found is None:  # out of reach: what an earlier call has left in the cache
        home = repository.fetch(["*.parquet"])
        found = tuple(str(f.relative_to(home)) for f in home.rglob("*.parquet"))
    tables = repository.tables(found)
    if not tables:
        raise InputError(f"data set {name} of the hub has no Parquet files; fetch it and give a folder of pictures")
    chosen = of_split(tables, split, where=f"data set {name}")
    configurations = sorted({f.split("/")[0] for f in chosen if "/" in f})
    if len(configurations) > 1:
        raise InputError(
            f"data set {name} has several configurations ({', '.join(configurations[:6])}); fetch the Parquet files of "
            "one and give their folder"
        )
    folder = repository.fetch(chosen)
    return [folder / f for f in chosen]


@dataclass(frozen=True)
class Repository:
    """A repository of the hub as far as it could be asked.

    Args:
        name: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: a branch, or None for the main one.
        files: paths of its files, or None where the hub is out of reach.
        why: it is out of reach.
    """

    name: str
    kind: Kind
    revision: str | None
    files: tuple[str, ...] | None
    why: str = ""

    @classmethod
    def look_up(cls, name: str, kind: Kind, revision: str | None = None) -> Repository:
        """Ask the hub what a repository holds; raises InputError where it knows none of that name."""
        from huggingface_hub import HfApi
        from huggingface_hub.constants import HF_HUB_OFFLINE
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT)
        except RevisionNotFoundError:
            return cls(name, kind, revision, ())
        except RepositoryNotFoundError as error:
            raise InputError(
                f"{name!r} is no path here, and the hub has no such {_named(kind)}, or keeps it from you "
                f"({type(error).__name__}); check the spelling"
            ) from None
        except Exception as error:  # offline, no network, no answer: whatever the client of the day raises
            why = "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else f"{type(error).__name__}"
            return cls(name, kind, revision, None, why)
        return cls(name, kind, revision, tuple(s.rfilename for s in getattr(info, "siblings", None) or []))

    @staticmethod
    def tables(files: Sequence[str]) -> list[str]:
        return [f for f in files if f.endswith(".parquet")]

    def fetch(self, patterns: Sequence[str]) -> Path:
        """Folder with those files that match; from the local cache where the hub is out of reach.

        Raises:
            InputError: out of reach, and not whole in the cache.
        """
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.name,
                repo_type=self.kind,
                revision=self.revision,
                allow_patterns=list(patterns),
                local_files_only=self.files is None,
            )
        except Exception as error:
            why = self.why or f"{type(error).__name__} on the way"
            raise InputError(
                f"{self.name!r} is no path here, and as a {_named(self.kind)} of the hub it is out of reach ({why}) "
                "and not whole in the local cache; go online, or fetch it elsewhere and give its folder"
            ) from None
        return Path(folder)


def _named(kind: Kind) -> str:
    return "model" if kind == "model" else "data set"
