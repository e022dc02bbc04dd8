"""Constants (CODATA, through scipy) and multipliers: everything inside the package is SI.

``Junction(t_F=1.1 * nm)`` reads as it is written in a paper, and the stored value is in metres.
"""

from scipy import constants

k_B: float = constants.k  #: Boltzmann constant [J/K]
mu_0: float = constants.mu_0  #: vacuum permeability [T m/A]
e_charge: float = constants.e  #: elementary charge [C]
hbar: float = constants.hbar  #: reduced Planck constant [J s]
gamma_e: float = constants.physical_constants["electron gyromag. ratio"][0]  #: [rad/(s T)]

nm = 1e-9
um = 1e-6
ps = 1e-12
ns = 1e-9
fJ = 1e-15
pJ = 1e-12
fF = 1e-15
mT = 1e-3
fJ_per_Vm = 1e-15  #: unit of the VCMA coefficient xi, [J/(V m)]
ohm_um2 = 1e-12  #: unit of a resistance-area product, [ohm m^2]
year = 365.25 * 86400.0  #: Julian [s]
