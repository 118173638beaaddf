"""The engine of both trainers: devices and seeds, checkpoints, optimisers, steps, and the loop over epochs."""
