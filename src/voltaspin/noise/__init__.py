"""Noise: random bits from the memory, conditioned, shaped into Gaussians and tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.core.quantity import Estimate as Estimate
    from voltaspin.noise.conditioning import Conditioner as Conditioner
    from voltaspin.noise.conditioning import Peres as Peres
    from voltaspin.noise.conditioning import VonNeumann as VonNeumann
    from voltaspin.noise.conditioning import Xor as Xor
    from voltaspin.noise.conditioning import xor_bias as xor_bias
    from voltaspin.noise.examination import entropy as entropy
    from voltaspin.noise.examination import sp800_22 as sp800_22
    from voltaspin.noise.examination.cell_result import CellCriteria as CellCriteria
    from voltaspin.noise.examination.cell_result import CellExamination as CellExamination
    from voltaspin.noise.examination.cells import examine_cells as examine_cells
    from voltaspin.noise.examination.entropy import EntropyEstimates as EntropyEstimates
    from voltaspin.noise.examination.randomness import Assessment as Assessment
    from voltaspin.noise.examination.randomness import Randomness as Randomness
    from voltaspin.noise.examination.randomness import assess as assess
    from voltaspin.noise.examination.randomness import examine as examine
    from voltaspin.noise.examination.statistics import BitStatistics as BitStatistics
    from voltaspin.noise.examination.statistics import bit_statistics as bit_statistics
    from voltaspin.noise.feedback import Feedback as Feedback
    from voltaspin.noise.feedback import Stabilised as Stabilised
    from voltaspin.noise.gaussian import GaussianTransform as GaussianTransform
    from voltaspin.noise.gaussian import InverseCDF as InverseCDF
    from voltaspin.noise.gaussian import Popcount as Popcount
    from voltaspin.noise.gaussian import Shaping as Shaping
    from voltaspin.noise.gaussian_variants import BoxMuller as BoxMuller
    from voltaspin.noise.gaussian_variants import DiscreteGaussian as DiscreteGaussian
    from voltaspin.noise.gaussian_variants import DitheredPopcount as DitheredPopcount
    from voltaspin.noise.gaussian_variants import Requantised as Requantised
    from voltaspin.noise.grammar import build as build
    from voltaspin.noise.grammar import conditioned as conditioned
    from voltaspin.noise.hashing import Sha256 as Sha256
    from voltaspin.noise.hashing import Toeplitz as Toeplitz
    from voltaspin.noise.health import Alarm as Alarm
    from voltaspin.noise.health import HealthChecked as HealthChecked
    from voltaspin.noise.health import HealthTests as HealthTests
    from voltaspin.noise.importer.reading import FileError as FileError
    from voltaspin.noise.importer.reading import FileOptions as FileOptions
    from voltaspin.noise.importer.reading import Understood as Understood
    from voltaspin.noise.importer.values import TwoPopulations as TwoPopulations
    from voltaspin.noise.importer.values import two_populations as two_populations
    from voltaspin.noise.instrument import instrument_source as instrument_source
    from voltaspin.noise.memory_sequence import cells_of_bits as cells_of_bits
    from voltaspin.noise.memory_source import MemorySource as MemorySource
    from voltaspin.noise.periodic import LoopedSource as LoopedSource
    from voltaspin.noise.periodic import PeriodicSource as PeriodicSource
    from voltaspin.noise.recorded import RecordedSource as RecordedSource
    from voltaspin.noise.recorded import record as record
    from voltaspin.noise.software import PseudoSource as PseudoSource
    from voltaspin.noise.source import AddressableSource as AddressableSource
    from voltaspin.noise.source import NoiseSource as NoiseSource
    from voltaspin.noise.source import Provenance as Provenance
    from voltaspin.noise.source import SequentialSource as SequentialSource
    from voltaspin.noise.stream import StreamSource as StreamSource
    from voltaspin.noise.system import SystemSource as SystemSource
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
