"""bdscan: tells whether an image-classification checkpoint carries a backdoor."""

__version__ = "0.1.0"
