"""PsychoPy experiments that show the stimuli of a run. Not part of the installed package."""
