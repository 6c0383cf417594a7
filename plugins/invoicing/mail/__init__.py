"""Messages, built and read back; and their transmission, of which every end is known or known to be unknown."""
