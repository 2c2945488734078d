"""The commands. Everything importable stands in `jaxalias` and `weights_import`."""
