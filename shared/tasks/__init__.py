"""What can be learned: one file for each kind of task, behind one small interface (base.py)."""
