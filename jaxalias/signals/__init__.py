"""Test signals, played phrases and recordings: everything before a model is involved.

Exact phase (`phase`), windows and filters (`dsp`), random sines (`sines`), sines that repeat after a whole number of
samples (`periodic_tones`), a synthetic guitar and bass (`strings`), phrases on them (`playing`), notes high up the neck
(`high_playing`), audio files (`audio_files`, `audio_headers`), pairs of recordings (`recordings`), and the delay
between the two recordings of a pair (`alignment`).
"""
