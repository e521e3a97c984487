"""Five hospitals and a study of mode "distributed" on 8 × 8 pixels: four must answer, of whom one may collude."""

NAMES = ("alder", "birch", "cedar", "damson", "elder")
HONEST = 3
POLICY = "[privacy]\nepsilon_total = 100.0\nepsilon_per_study = 100.0\n[studies]\nask = false\n"
STUDY = """
name = "distributed"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX"]
size = [8, 8]
[model]
name = "cnn"
[model.options]
width = 16
hidden = 16
[training]
rounds = 2
batch = 8
local_steps = 1
learning_rate = 0.1
[federation]
min_sites = 3
timeout_s = 5.0
[privacy]
mode = "distributed"
epsilon = 8.0
delta = 1e-5
clip = 1.0
sampling_rate = 0.5
[aggregation]
colluders = 1
"""
