"""How are values chosen and trials run? The top layer: may import `model` and `studies`."""
