"""The bundle: its files, read and written."""
