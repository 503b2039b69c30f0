"""Where does it lie? The database: opening it, its schema, reading it fast."""
