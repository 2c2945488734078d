"""A short form of what `python -m torture` does in full.

Those of damaged model files, of damaged checkpoints, of runs that are killed and of the product of commands and kinds
are in `formats/test_mutations.py`, `training/test_checkpoints.py`, `commands/test_finetune.py` and
`commands/test_every_model_in_every_command.py`.
"""

from pathlib import Path

from torture import full_disk, long_audio


def test_commands_on_a_disk_that_takes_no_more_end_in_one_line_and_lose_nothing(tmp_path: Path) -> None:
    found = full_disk.torture(tmp_path, full_disk.QUICK, mounts=False)
    assert not found["failures"]
    assert found["tries"] == len(full_disk.QUICK) * len(full_disk.LIMITS)


def test_minutes_of_audio_take_no_more_memory_than_seconds(tmp_path: Path) -> None:
    """Four minutes, of which a copy in float64 would take 85 MB."""
    found = long_audio.torture(240.0, tmp_path)
    assert not found["failures"]
