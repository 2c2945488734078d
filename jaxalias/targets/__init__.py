"""What the student is trained to answer.

The settled answers of the frozen teacher (`teacher`), the analysis of their harmonics and the resynthesis below Nyquist
(`harmonics`), and the teacher at a multiple of its sample rate
(`oversampling`).
"""
