"""Signals and what is done to them before any model is involved.

Exact phase (`phase`), windows and filters (`dsp`), random sines (`sines`), sines that repeat after a whole number of
samples (`periodic_tones`), a synthetic guitar and bass (`playing`), audio files (`audio_files`), and pairs of
recordings (`recordings`).
"""
