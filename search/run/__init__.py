"""How is a study worked off? The run of a host, its slots, and how they stop."""
