"""How files are read and written safely."""
