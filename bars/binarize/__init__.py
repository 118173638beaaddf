"""Binary numerics: sign functions with their gradients, quantizers of weights and activations, the binary layer."""
