"""Gradient norms per block, update ratios, and the recorder for any PyTorch loop."""
