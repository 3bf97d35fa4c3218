"""Which net is better, and how surely.

| room | what it does |
|---|---|
| `compare` | `compare`: contestants × seeds, from the command to the finished comparison |
| `contestants` | what was typed to recipes and run folders; the same data, split and seeds for all |
| `matching` | `--match`: the width at which a net costs what the first one costs |
| `budget` | the run folders: which are there, which are half done, how long the rest takes |
| `statistics` | McNemar, intervals, tests over seeds; the verdict in words |
| `result` | the finished comparison |
| `events` | what is told on the way |
| `files` | comparison.json, .csv, .md and curves.csv |
| `page` | `write_page(comparison)`: the figures and report.html into `comparison.folder` |

Nothing is imported here.
"""
