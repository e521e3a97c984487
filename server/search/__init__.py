"""Settings of a study, searched for over whole runs, simulated or real, within one privacy budget."""
