"""How does a process train for us? The training process, what is said to it and by it, and where it computes."""
