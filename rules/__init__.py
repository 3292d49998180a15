"""The rules: each TOML file says how one score is judged, and on what that was calibrated."""

if __name__ != "modelscan_bd.rules":
    raise ImportError("import modelscan_bd.rules, not the bare folder")
