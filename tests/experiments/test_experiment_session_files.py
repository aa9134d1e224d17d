"""No completed trial is lost, whatever a crash leaves of the last line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_run import make_run, oddity_list, read_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.shared.errors import ExperimentError
from experiments.shared.session import FRAME_COLUMNS, MEASURED, Frame, open_session
from experiments.shared.trial_list import read_trial_list

ANSWER = {"response": "left", "correct": 1, "rt_s": "0.5123"}
FRAMES = [Frame("interval", 0.0167, False), Frame("presentation", 0.0334, True)]


@pytest.fixture(scope="module")
def trial_list(tmp_path_factory):
    run_folder = make_run(tmp_path_factory.mktemp("files") / "results" / "example")
    return read_trial_list(oddity_list(run_folder, 6, 3), "oddity")


def open_in(folder, trial_list, **changes):
    arguments = {"participant": "p01", "session": 1, "simulated": False, "settings": {"ramp_px": 6.0}}
    return open_session(folder, trial_list, **(arguments | changes))


def test_trial_is_saved_when_it_ends(tmp_path, trial_list):
    session = open_in(tmp_path, trial_list)
    for number in (1, 2):
        session.save_trial(ANSWER, FRAMES)
        rows = read_csv(session.folder / "trials.csv")
        assert len(rows) == number
        assert rows[-1]["trial_number"] == str(number)
        assert rows[-1]["rt_s"] == "0.5123"
        assert set(rows[-1]) == set(trial_list.columns) | set(MEASURED)
        frames = read_csv(session.folder / "frames.csv")
        assert tuple(frames[0]) == FRAME_COLUMNS
        assert len(frames) == 2 * number
        assert list(frames[-1].values()) == [str(number), "presentation", "2", "0.033400", "1"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.integers(1, 5), st.data())
def test_session_continues_after_the_last_complete_row(tmp_path_factory, trial_list, completed, data):
    folder = tmp_path_factory.mktemp("crash")
    session = open_in(folder, trial_list)
    for _ in range(completed):
        session.save_trial(ANSWER, FRAMES)
    file = session.folder / "trials.csv"
    content = file.read_bytes()
    kept = content[: data.draw(st.integers(0, len(content)))]
    file.write_bytes(kept)
    frames = session.folder / "frames.csv"
    content = frames.read_bytes()
    # Frames reach the disk before their trial: at least those of the trials that are there.
    needed = len(b"".join(content.splitlines(keepends=True)[: 1 + 2 * max(kept.count(b"\n") - 1, 0)]))
    frames.write_bytes(content[: data.draw(st.integers(needed, len(content)))])
    whole = max(kept.count(b"\n") - 1, 0)
    again = open_in(folder, trial_list)
    assert len(again.done) == whole
    assert [row["trial_number"] for row in again.done] == [str(n) for n in range(1, whole + 1)]
    for _ in range(whole, 6):
        again.save_trial(ANSWER, FRAMES)
    rows = read_csv(file)
    assert [row["trial_number"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert all(row["response"] == "left" for row in rows)
    assert [frame["trial_number"] for frame in read_csv(frames)] == [
        str(n) for n in range(1, 7) for _ in range(2)
    ]
    with pytest.raises(ExperimentError, match="is complete"):
        open_in(folder, trial_list)


def test_other_setting_is_refused_after_the_first_trial(tmp_path, trial_list):
    open_in(tmp_path, trial_list)
    session = open_in(tmp_path, trial_list, settings={"ramp_px": 9.0})
    session.save_trial(ANSWER)
    with pytest.raises(ExperimentError, match=r"ramp_px was 9.0 and is 6.0"):
        open_in(tmp_path, trial_list)
    with pytest.raises(ExperimentError, match="cannot share a session"):
        open_in(tmp_path, trial_list, settings={"ramp_px": 9.0}, simulated=True)
    with pytest.raises(ExperimentError, match="the trial list has changed"):
        open_in(tmp_path, replace(trial_list, sha256="sha256:00"), settings={"ramp_px": 9.0})
    with pytest.raises(ExperimentError, match="no session to resume"):
        open_in(tmp_path, trial_list, session=2, resume=True)
    open_in(tmp_path, trial_list, participant="p02")


@pytest.mark.parametrize("participant", ["007", "", "a b", "../x", "é", "NA", "TRUE", "All"])
def test_identifier_that_a_table_or_a_folder_would_change_is_refused(tmp_path, trial_list, participant):
    with pytest.raises(ExperimentError, match="cannot be the identifier"):
        open_in(tmp_path, trial_list, participant=participant)
    assert list(tmp_path.iterdir()) == []
