"""The proof of the hand-derived engine: each gradient against central differences and against autograd, in float64.

cases.py what each layer is tried on · differences.py the numeric derivative, kinks told from errors · autograd.py the
torch twin · check.py the comparison · verdicts.py the error and what it says · bugs known mistakes · planting.py that
each is caught · user_layer.py a user's own class · whole_net.py a net of cnnlab.models · explain.py the formulas ·
`examples` their numbers · gradcheck.py all of it in one call
"""

from cnnlab.gradient_check.explain import Explanation, explain
from cnnlab.gradient_check.gradcheck import gradcheck
from cnnlab.gradient_check.verdicts import BugCheck, Check, Match, Report, failure

__all__ = ["BugCheck", "Check", "Explanation", "Match", "Report", "explain", "failure", "gradcheck"]
