* VCMTJ: voltage-controlled magnetic tunnel junction, one macrospin at T = 0
* written by voltaspin 0.1.0 from 'generator'
*
* Tested with ngspice 39 against voltaspin's own integrator. Keep time steps at 1 ps or below: through
* a 0.6 ns pulse and 5 ns after it m then differs by 7e-5 (generator preset), with 5 ps by 2e-3.
*
* Nodes: reference, free = the two electrodes; mx, my, mz = direction of the free layer, 1 V for 1.
* Leave mx, my, mz unloaded: they are the state, and 1 A into them is a torque of 1 T.
*
* Signs: the voltage is V(reference) - V(free). A positive one lowers the perpendicular anisotropy;
* the electrons then go from the free to the reference layer, which favours antiparallel (mz = -1).
* Spin torque: off (aJ = 0). Start: bottom of the well 'up'.
* At an operating point and in a DC sweep m is held at (mx0, my0, mz0).
*
* Junction: diameter 5.0000000000000004e-08 m, t_F 1.1000000000000001e-09 m, t_ox 1.4e-09 m,
*   Ms 1000000.0 A/m, K_i 0.0007072369807482176 J/m^2, xi 1e-13 J/(V m),
*   N (0.032936611173962405, 0.032936611173962405, 0.9341267776520752),
*   RA 1e-09 ohm m^2, oxide eps_r 9.7.
*
* Limits: a macrospin; the diameter is 50 nm.
*   A layer this wide may reverse incoherently; the barrier is then overestimated (arXiv 1410.7361).
*   No thermal noise: a run is one noiseless trajectory, not a switching probability.
*   Rectangular pulses flatter a write error rate: drive it with real edges and lines.
*
* Parameters:
*   Bk    T    anisotropy field 2 K_eff / Ms at zero voltage, demagnetisation included
*   dBk   T/V  its change with the voltage (VCMA)
*   Bx    T    bias field, stray fields included
*   By    T    bias field
*   Bz    T    bias field
*   alpha 1    Gilbert damping
*   aJ    T/V  Slonczewski field per volt
*   Cm    F    state capacitor 1 / gamma', gamma' in rad/(s T)
*   Bm    T    strength of the current that restores |m| = 1
*   RP    ohm  resistance of the parallel state
*   TMR0  1    (R_AP - R_P) / R_P at vanishing voltage
*   Vh    V    voltage that halves the TMR
*   Cox   F    capacitance of the oxide, no fringes
*   mx0   1    m at the start, a unit vector
*   my0   1    m at the start
*   mz0   1    m at the start: above 0 is parallel (bit 0), below antiparallel (bit 1)
.subckt VCMTJ reference free mx my mz
+ Bk=0.15341645709373591
+ dBk=-0.12987012987012975
+ Bx=0.03
+ By=0.0
+ Bz=0.0
+ alpha=0.02
+ aJ=0.0
+ Cm=5.681316012833824e-12
+ Bm=1.0
+ RP=509295.81789406505
+ TMR0=1.0
+ Vh=0.5
+ Cox=1.2045430295935235e-16
+ mx0=0.19554615278325183
+ my0=0.0
+ mz0=0.980694499898755
* The junction: conductance (1/RP) (1 + TMR (1 + mz) / 2) / (1 + TMR) with TMR = TMR0 / (1 + (V / Vh)^2)
Bmtj reference free I = V(reference, free) * {1 / RP}
+ * (V(reference, free) * V(reference, free) + {Vh * Vh} * (1 + {TMR0 / 2} * (1 + V(mz))))
+ / (V(reference, free) * V(reference, free) + {Vh * Vh * (1 + TMR0)})
Cmtj reference free {Cox}
* Fields along z [T]: of the precession, of the damping; then damping field * m and m * m
Bturn turn 0 V = {Bz} + ({Bk} + {dBk} * V(reference, free)) * V(mz) - {alpha * aJ} * V(reference, free)
Bdamp damp 0 V = {alpha} * ({Bz} + ({Bk} + {dBk} * V(reference, free)) * V(mz)) + {aJ} * V(reference, free)
Bdot dot 0 V = {alpha} * ({Bx} * V(mx) + {By} * V(my)) + V(damp) * V(mz)
Bmm mm 0 V = V(mx) * V(mx) + V(my) * V(my) + V(mz) * V(mz)
* 0 V at an operating point and in a DC sweep, 1 V in a transient (the variable time is not 0 in a sweep)
Vrun run 0 dc 0 pwl(0 0 1f 1)
* Cm dm/dt = -m x turn - m x (m x damp) + Bm (1 - m^2) m; before the transient m = (mx0, my0, mz0)
Cx mx 0 {Cm} ic={mx0}
Cy my 0 {Cm} ic={my0}
Cz mz 0 {Cm} ic={mz0}
Bix 0 mx I = (1 - V(run)) * ({mx0} - V(mx)) + V(run) * (V(mz) * {By} - V(my) * V(turn)
+ - V(dot) * V(mx) + V(mm) * {alpha * Bx} + {Bm} * (1 - V(mm)) * V(mx))
Biy 0 my I = (1 - V(run)) * ({my0} - V(my)) + V(run) * (V(mx) * V(turn) - V(mz) * {Bx}
+ - V(dot) * V(my) + V(mm) * {alpha * By} + {Bm} * (1 - V(mm)) * V(my))
Biz 0 mz I = (1 - V(run)) * ({mz0} - V(mz)) + V(run) * (V(my) * {Bx} - V(mx) * {By}
+ - V(dot) * V(mz) + V(mm) * V(damp) + {Bm} * (1 - V(mm)) * V(mz))
.ends VCMTJ
