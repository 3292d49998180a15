"""The benchmark: data sets, one training loop, and cards that say what a trained model is."""
