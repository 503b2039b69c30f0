"""What can be typed? The command alexsearch: options and commands, each a few lines over the library."""
