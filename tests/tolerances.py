"""Every tolerance of the tests, with the reason for its size. Levels are relative to full scale (peak 1)."""

F64 = 1e-12
"""The same float64 arithmetic in another order, over sums of up to some thousand terms."""

F64_TRANSFORM = 1e-10
"""float64 through FFTs of a second and sums of hundreds of harmonics, or gradients summed over time."""

VECTORS_F64 = 1e-9
"""Against the authors' program in float64: their phases are products n f0 / Fs in float64 (1e-11 of a turn
after a second), ours are exact; times a harmonic number of 800."""

F32_ANGLE = 5e-7
"""A float32 sine from an exact phase: 2e-7 rad of the last rounding, and the sine's own 1e-7."""

F32_RESYNTHESIS = 1e-5
"""float32 FFT of 48 000 windowed samples, then up to 872 harmonics summed: -100 dB of full scale."""

SIDE_LOBES = 1e-4
"""The Chebyshev window's side lobes (-120 dB) of every component in every harmonic, added up over some hundred."""

F32_MODEL = 1e-4
"""A small model in float32 against float64: rounding (1e-7) times what the recurrence amplifies."""

FINITE_DIFFERENCE = 1e-5
"""Central difference with a step of 1e-6 in float64: relative error of h^2 and of 1e-16 / h."""

NMR_F64_DB = 1e-3
"""The authors' tables are printed to 1e-3 Hz; the noise-to-mask ratio follows to this."""

NMR_F32_DB = 0.05
"""float32 down to a noise-to-mask ratio of -60 dB; below that the FFT's rounding is what is measured."""

TABLE_HZ = 3e-3
"""The published band table is rounded to 1e-3 Hz, and off its own formula by up to 3e-3 (further where `nmr` says)."""

TABLE_RELATIVE = 1e-5
"""What follows from band centres rounded to 1e-3 Hz of at least 92 Hz."""

BASELINE_DB = 0.1
"""BASELINE.md is printed to 0.1 dB, and the models ran in float32."""

UNLIKELY = 1e-6
"""p-value under which a draw does not follow its distribution. The keys are fixed: it passes always or never."""

RIPPLE = 1.4e-4
"""80 dB is 1e-4; Kaiser's estimate of the order meets it to 3 dB."""

SILENCE_RELATIVE = 1e-7
"""The -120 dB that the loss adds to a target's power, relative to the -40 dB of the quietest target used."""

FAST_TANH = 2e-3
"""How far the players' approximation lies from tanh."""

ANALYTIC_DB = 0.01
"""A second of a tone holds no whole number of its periods: mean squares are off by a thousandth."""

F32_ROUNDING = 1e-6
"""A few float32 operations."""

F32_RECURRENCE = 5e-6
"""float32 through twenty steps of a recurrence and back, relative to the largest number of the result."""

DEVICE_INTEGRATION = 5e-3
"""BDF2 at 4.2 MHz against Radau, where a waveform of peak 0.9 has its steepest edges; measured: 1.4e-3 (distortion)."""

DEVICE_SMALL_SIGNAL_DB = 0.05
"""BDF2 at 4.2 MHz: (w T)^2 / 3 at 12 kHz is 0.001 dB; the rest is what is left of settling."""

DEVICE_ALIAS_DB = -60.0
"""What the virtual devices promise of their noise-to-mask ratio. The fuzz keeps it by 24 dB. The distortion keeps it by
1.8 dB at 44.1 kHz, where a tone of 11.2 kHz has aliases of -136 dB of full scale at 6.7 and 15.7 kHz; by 23 dB for the
tones up to 7.1 kHz, and by 48 dB at 48 kHz."""

NEWTON_LEFT = 1e-7
"""-140 dB of full scale, on the loudest and highest tone; measured: 5e-8, the distortion."""

SHIPPED_BYTES = 1_500_000
"""What the models that come with the repository may weigh together."""

SHIPPED_ESR_DB = -15.0
"""Of a shipped model on half a second of guitar: the distortion's have -21.7 (LSTM) and -17.1 dB (NAM), the fuzz's
-18.9 and -25.7 dB; against the circuits as they were before they were driven harder the LSTMs have -8.1 and -12.1."""

LEVELS_DB = 0.2
"""Loudness of a capture on the project's signal against NAM's own signal; of eight captures the largest was 0.17."""
