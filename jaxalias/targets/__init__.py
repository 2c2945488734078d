"""The target of training: what the student should output.

The settled output of the frozen teacher (`teacher`), the analysis and resynthesis of its harmonics below Nyquist
(`harmonics`), and the teacher at a multiple of its sample rate (`oversampling`), long signals in pieces (`pieces`).
"""
