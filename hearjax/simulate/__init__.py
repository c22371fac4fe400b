"""The simulated survey; no evidence about the Sun."""
