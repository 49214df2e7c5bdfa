"""A study's jobs that compute networks, listed in one file and done in one process.

``planned`` lists them where the study lies; ``work`` does them where torch, NumPy, pandas and
safetensors are all there is.
"""
