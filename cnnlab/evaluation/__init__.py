"""What a finished run is worth.

| room | what it does |
|---|---|
| `evaluate` | `evaluate`: all figures, pictures and files of a run |
| `opened` | a run folder read, checked, its net on its device |
| `chosen` | the pictures that it is evaluated on |
| `measures` | the figures themselves: arrays in, numbers out |
| `views` | prediction in batches, and averaged over mirrored and shifted views |
| `classify` | single pictures |
| `onnx_export` | the net as one ONNX file |
| `listing` | the runs that there are |
| `door` | `cnnlab.evaluate` |

Nothing is imported here: `listing` serves without torch.
"""
