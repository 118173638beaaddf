"""Speed, memory and scaling of bars, against plain formulations of the same things: ``python -m benchmarks NAME``."""
