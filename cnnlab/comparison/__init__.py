"""Which net is better, and how surely.

| room | what it does |
|---|---|
| `compare` | `compare`: from what was typed to the finished comparison and its folder |
| `contestants` | what was typed to recipes and runs; the same data, split, seeds and epochs for all |
| `matching` | `--match`: the width at which a net costs what the first one costs |
| `plan` | every run with its resolved recipe, before the first step |
| `reuse` | finished runs of the same recipe |
| `trainings`, `clock` | the runs, one after the other; how long the rest takes |
| `testing` | the finished runs before the same test images |
| `statistics`, `verdict` | McNemar, intervals, tests over seeds; the verdict in words |
| `tested`, `pairs`, `result` | the nets with their figures; each pair with its test; the finished comparison |
| `events` | what is told on the way |
| `files` | comparison.json, .csv, .md and curves.csv |
| `pictures` | the figures |
| `page`, `page_images` | report.html, from `templates/`; its confusion matrices and test images |
| `door` | `cnnlab.compare` |

Nothing is imported here.
"""
