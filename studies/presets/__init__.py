"""Search spaces that ship with the project, one TOML file each."""
