"""Training: from a recipe to a finished run.

| room | what it does |
|---|---|
| `loop` | `train`: begin, or go on; `door` is `cnnlab.train` |
| `settings` | what is told beside the recipe: where, on what, what to record |
| `prepare`, `net` | everything before the first step; the net with its initial weights, checked |
| `device` | device, precision, layout in memory, threads |
| `run`, `engines` | the epochs; what computes them |
| `batches`, `schedule` | what a step is trained on; its learning rate and image size |
| `metrics`, `gradients` | loss and accuracy; `--gradients` |
| `events`, `summary` | what is told on the way; a run in a few words |
| `run_folder`, `environment` | the run's files, and how it is found; what it was made with |
| `checkpoint`, `saving` | the file format; how far a run has come, put on the disk |
| `going_on`, `lock` | the newest whole checkpoint of the same run; one process a run |
| `world`, `processes`, `torchrun` | the processes of one training; how they meet and talk; which one this is |
| `preflight`, `outline` | `--check`; `--dry-run` |
| `profiling`, `tensorboard` | `--profile`; `--log tensorboard` |

Nothing is imported here: `run_folder` and `checkpoint` serve commands that never need torch.
"""
