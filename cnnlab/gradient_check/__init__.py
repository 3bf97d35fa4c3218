"""The proof of the hand-derived engine: each gradient against central differences and against autograd, in float64.

| room | what it does |
|---|---|
| `gradcheck` | `gradcheck`: all of it in one call |
| `cases` | what each layer is tried on |
| `subject` | a layer or a loss with its input, and its arrays by name |
| `check` | the comparison |
| `differences`, `autograd` | the numeric derivative, kinks told from errors; the torch twin |
| `verdicts` | how far two gradients lie apart, and what that says |
| `bugs`, `planting` | known mistakes; that each is caught |
| `user_layer` | a user's own class |
| `whole_net` | a net of `cnnlab.models` |
| `explain`, `examples` | the formulas; their worked numbers |
"""

from cnnlab.gradient_check.explain import Explanation, explain
from cnnlab.gradient_check.gradcheck import gradcheck
from cnnlab.gradient_check.verdicts import BugCheck, Check, Match, Report, failure

__all__ = ["BugCheck", "Check", "Explanation", "Match", "Report", "explain", "failure", "gradcheck"]
