"""Batches made by workers: on several devices, on Slurm, on a Dask scheduler that is there."""
