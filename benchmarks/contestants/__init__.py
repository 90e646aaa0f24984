"""One adapter a contestant; each is run as a program in an environment of its own."""
