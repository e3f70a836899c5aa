"""The version that results name as their maker."""

__version__ = "0.1.0"
