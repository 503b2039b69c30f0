"""What do all rooms of the search stand on? Messages, TOML, the home folder, the terminal, seeds, provenance."""
