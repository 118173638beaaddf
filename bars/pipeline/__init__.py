"""The experiment grid and the files of its stages."""
