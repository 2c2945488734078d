"""The training of students: draw -> play -> compare -> step.

What a run is trained on (`plan`, `sources`), the loss of one update and its gradient (`gradients`), one update of one
student (`step`), the compiled functions of a run (`run`), students and devices side by side (`students`), the loop over
updates (`loop`), the search for a stable learning rate (`rate_search`), and checkpoints (`checkpoints`).
"""
