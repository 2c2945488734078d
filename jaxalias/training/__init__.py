"""The training of students: draw -> play -> compare -> step.

The sources of a run and the data of their targets (`plan`, `sources`), the loss of one update and its gradient
(`gradients`), the rows that are drawn more often (`importance`), one update of one student (`step`), the compiled
functions of all students (`program`) and these with the data of a run (`run`), many students and devices (`students`),
the loop over updates (`loop`), the search for a stable learning rate (`rate_search`), and checkpoints (`checkpoints`).
"""
