"""Binary networks with one bit per weight: their file, how they are run, and the door to both, ``load``."""

from bars.packed.network import Network, load

__all__ = ["Network", "load"]
