"""The engines: what trains a net.

| room | what it does |
|---|---|
| `base` | what the loop asks of an engine |
| `torch`, `numpy` | PyTorch; the hand-derived `cnnlab.backprop` |
| `torch_optimizer`, `muon` | the recipe's optimiser in torch; Muon |
| `trained_layers` | what of a torch net trains, rests or is frozen |
| `parameter_groups` | learning rate and decay by parameter, for both |
| `torch_state`, `saved_state` | a torch net's state as arrays; a checkpoint's, checked |
| `torch_gradient_recorder`, `numpy_gradient_recorder` | δ and ∂J/∂w by layer |
| `gradient_sum` | the gradients of all processes, added up |
| `on_device` | the training set on a GPU |
| `diagnosis` | the first tensor that is not finite |
"""
