"""What may be tried? A space file, read and checked whole, as frozen values."""
