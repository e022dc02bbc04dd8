"""Time of the explorer's views after one slider has moved: half a second is asked for the physics, a few for images.

Run: python benchmarks/explorer.py
"""

from __future__ import annotations

import statistics
import time

from voltaspin.explorer import ExplorerState, bit_view, image_view, price_view, switching_view

VOLTAGES = [1.50, 1.55, 1.60, 1.62, 1.64, 1.66]


def main() -> None:
    for view in (switching_view, price_view, bit_view, image_view):
        clock, processor = [], []
        for voltage in VOLTAGES:
            state = ExplorerState(voltage=voltage)
            begin, used = time.perf_counter(), time.process_time()
            view(state)
            clock.append(time.perf_counter() - begin)
            processor.append(time.process_time() - used)
        # The first call compiles and loads; the others are what a slider costs.
        print(
            f"{view.__name__}: {statistics.median(clock[1:]):.2f} s by the clock ({min(clock[1:]):.2f} to "
            f"{max(clock[1:]):.2f}), {statistics.median(processor[1:]):.2f} s of the processor; first {clock[0]:.1f} s"
        )


if __name__ == "__main__":
    main()
