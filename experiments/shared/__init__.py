"""What the experiments share: monitor, trial list, aperture, frames, session and simulated observer."""
