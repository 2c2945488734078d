"""Signals and what is done to them before any model is involved.

Exact phase (`phase`), windows and filters (`dsp`), random sines (`sines`), sines that repeat after a whole number of
samples (`periodic_tones`), a synthetic guitar and bass (`strings`), what people play on them (`playing`) and high up
the neck (`high_playing`), audio files (`audio_files`, `audio_headers`), pairs of recordings (`recordings`), and where
one lies on the other (`alignment`).
"""
