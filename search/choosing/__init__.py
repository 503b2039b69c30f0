"""Which values does a trial get, and who goes on? Samplers, pruners, and how a trial comes to its values."""
