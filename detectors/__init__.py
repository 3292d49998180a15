"""The detectors: each file measures a model in one way and passes no judgement."""

if __name__ != "modelscan_bd.detectors":
    raise ImportError("import modelscan_bd.detectors, not the bare folder: two copies of one class never match")
