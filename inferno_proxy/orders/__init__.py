"""What operators order while the mesh runs: a layer over the settings that outlives the control plane."""
