from __future__ import annotations

import pytest

from experiments.shared.arguments import eccentricity, parser

REQUIRED = ["oddity.csv", "--participant", "p01", "--monitor", "lab.yaml"]


def test_defaults():
    options = parser("", "oddity").parse_args(REQUIRED)
    assert (options.session, options.screen, options.ramp_px, options.background) == (1, 0, 6.0, 0.5)


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--session", "0", "is not a whole number from 1 on"),
        ("--session", "1.5", "is not a whole number from 1 on"),
        ("--screen", "-1", "is not a whole number from 0 on"),
        ("--background", "1.1", "must be from 0 to 1"),
        ("--ramp-px", "nan", "must be 0 or more"),
        ("--ramp-px", "wide", "is not a number"),
        ("--eccentricity-deg", "-1", "is not from 0 to 90"),
        ("--eccentricity-deg", "nan", "is not from 0 to 90"),
    ],
)
def test_wrong_argument_is_refused(option, value, problem, capsys):
    arguments = parser("", "oddity")
    arguments.add_argument("--eccentricity-deg", type=eccentricity)
    with pytest.raises(SystemExit, match="2"):
        arguments.parse_args([*REQUIRED, f"{option}={value}"])
    assert problem in capsys.readouterr().err
