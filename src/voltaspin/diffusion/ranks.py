"""The processes that train one model together, as ``torchrun`` or ``accelerate launch`` starts them.

Each takes its own examples of every batch, so that no two draw the same numbers; the first one writes. Without such
a launcher there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voltaspin.core.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run.

    Args:
        rank: from 0, the one that writes.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Join the processes that the launcher announced in the environment; one process where it announced none.

        Raises:
            InputError: the processes could not join.
        """
        announced = int(os.environ.get("WORLD_SIZE", "1"))
        if announced < 2:
            return cls()
        import torch
        from accelerate import PartialState

        # without cpu=True accelerate stays alone where there is no GPU, whatever the launcher says
        state = PartialState(cpu=not torch.cuda.is_available())
        if state.num_processes != announced:
            raise InputError(
                f"{announced} processes were started and {state.num_processes} joined; start them with torchrun, or "
                "unset WORLD_SIZE for one process"
            )
        return cls(state.process_index, state.num_processes)

    def leave(self) -> None:
        """Part from the other processes, at the end of all work."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def told(self, value: Any) -> Any:
        """Return the value that the first process gave, in every process."""
        if self.count == 1:
            return value
        from torch.distributed import broadcast_object_list

        box = [value]
        broadcast_object_list(box, src=0)
        return box[0]

    def all(self, value: Any) -> list[Any]:
        """Return the values of all processes, in every process."""
        if self.count == 1:
            return [value]
        from torch.distributed import all_gather_object

        found: list[Any] = [None] * self.count
        all_gather_object(found, value)
        return found

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the mean of each number over the processes."""
        if self.count == 1:
            return list(values)
        import torch
        from accelerate import PartialState
        from torch.distributed import all_reduce

        summed = torch.tensor(values, dtype=torch.float64, device=PartialState().device)
        all_reduce(summed)
        return [float(x) / self.count for x in summed.cpu()]
