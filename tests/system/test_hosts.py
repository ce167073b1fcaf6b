"""Finding the job, agreeing, and how a process of a job explains its end."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from w2v2_jax import partition
from w2v2_jax.errors import InputError
from w2v2_jax.system import hosts, join

ENVIRONMENT = {
    "JAX_COORDINATOR_ADDRESS": "node0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
SLURM = dict.fromkeys(("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID"), "1")


def flags(*arguments):
    parser = argparse.ArgumentParser()
    join.add_flags(parser)
    return parser.parse_args(arguments)


def test_a_process_without_flags_and_environment_is_alone():
    assert join.find(flags(), {}) is None


def test_flags_name_the_job_and_go_before_the_environment():
    given = flags("--coordinator", "10.0.0.1:99", "--num-processes", "2", "--process-id", "1")
    assert join.find(given, ENVIRONMENT) == ("10.0.0.1:99", 2, 1)


def test_the_environment_names_the_job():
    assert join.find(flags(), ENVIRONMENT) == ("node0:1234", 4, 3)


def test_a_job_of_one_process_is_alone():
    assert join.find(flags(), {**ENVIRONMENT, "JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}) is None  # fmt: skip  # noqa: E501
    assert join.find(flags(), {**SLURM, "SLURM_NTASKS": "1"}) is None


def test_a_slurm_step_of_several_tasks_and_a_tpu_pod_are_left_to_jax():
    assert join.find(flags(), {**SLURM, "SLURM_NTASKS": "8"}) == (None, None, None)
    assert join.find(flags(), {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}) is None  # no step
    for name in SLURM:  # a part of a step is none
        less = {key: value for key, value in SLURM.items() if key != name}
        assert join.find(flags(), {**less, "SLURM_NTASKS": "8"}) is None
    assert join.find(flags("--coordinator", "auto"), {}) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-processes", "2"], "needs all of --coordinator HOST:PORT"),
        (["--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"], r"outside 0\.\.1"),
        (["--coordinator", "a", "--num-processes", "2", "--process-id", "0"], "not HOST:PORT"),
        (["--coordinator", "a:", "--num-processes", "2", "--process-id", "0"], "not HOST:PORT"),
        (["--coordinator", ":1", "--num-processes", "2", "--process-id", "0"], "not HOST:PORT"),
        (["--coordinator", "a:b", "--num-processes", "2", "--process-id", "0"], "not HOST:PORT"),
    ],
)
def test_a_job_that_does_not_fit_together_is_an_input_error(arguments, message):
    with pytest.raises(InputError, match=message):
        join.find(flags(*arguments), {})
    with pytest.raises(InputError, match="whole numbers"):
        join.find(flags(), {**ENVIRONMENT, "JAX_PROCESS_ID": "three"})


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("bad\nthing"), 2, "error: bad thing\n"),
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"), join.LOST,
         "error: another host of this run died; the same command on all hosts resumes"),
        (RuntimeError("UNAVAILABLE: coordination service"), join.LOST, "error: another host"),
        (KeyError("gloo"), 1, "KeyError"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("words"), 1, ""),
        (InputError("the peer's file"), 2, "error: the peer's file\n"),
        (PermissionError(13, "Permission denied", "a.wav"), 2, "error: "),
    ],
)  # fmt: skip
def test_every_end_of_a_process_has_its_status_and_its_line(capsys, error, status, line):
    assert join.explain(error) == status
    assert line in capsys.readouterr().err


def test_alone_nothing_is_joined_and_an_error_passes(monkeypatch):
    monkeypatch.delattr(jax.distributed, "initialize")
    with pytest.raises(KeyError), join.joined(None):
        raise KeyError


@pytest.mark.parametrize(
    ("address", "explicit"),
    [
        (join.Address(), {}),
        (
            join.Address("node0:99", 2, 1),
            {
                "coordinator_address": "node0:99",
                "num_processes": 2,
                "process_id": 1,
                "cluster_detection_method": "deactivate",
            },
        ),
    ],
)
def test_the_runtime_is_told_the_address_or_finds_it_itself(monkeypatch, address, explicit):
    told = {}
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: told.update(options))
    join._initialize(address)
    limits = {name: told.pop(name) for name in tuple(told) if "timeout" in name}
    assert told == explicit
    assert sorted(limits.values()) == [join.HEARTBEAT_SECONDS, join.JOIN_SECONDS]


@pytest.mark.parametrize(
    ("coordinator", "told"), [("node0:99", "node0:99"), (None, "the runtime's own coordinator")]
)
def test_a_run_that_cannot_be_joined_is_one_line(monkeypatch, coordinator, told):
    def fail(**_):
        raise RuntimeError("too late")

    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(InputError, match=f"could not join the run at {told}: too late"):
        join._initialize(join.Address(coordinator, 2, 1))


@pytest.mark.parametrize("killed", [False, True])
def test_the_witness_of_a_run_is_in_a_session_of_its_own_and_dismissed_where_all_is_well(
    capfd, killed
):
    address = join.Address("node0:99", 2, 1)
    with contextlib.suppress(KeyError), join._witness(address) as child:
        assert os.getsid(child.pid) == child.pid  # a signal to the group leaves it alive
        if killed:
            raise KeyError
    assert child.returncode == 0
    line = "error: process 1 of 2 of this run ended before its time" if killed else ""
    shown = capfd.readouterr().err
    assert shown.startswith(line) and bool(shown) == killed


@pytest.mark.parametrize("done", [True, False])
def test_the_witness_speaks_only_when_its_process_ended_before_its_time(done):
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", join.WITNESS, "the line"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, shown = child.communicate(b"done" if done else b"")
    assert shown == (b"" if done else b"the line")


def test_hosts_that_differ_are_told_in_what(monkeypatch):
    from jax.experimental import multihost_utils

    facts = [{"configuration": 1, "corpus": "a"}, {"configuration": 1, "corpus": "b"}]
    hosts.require_same(facts[1])  # one process agrees with itself
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    sent = []

    def gather(local):
        sent.append(local)
        return np.stack([sent[0], local])

    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    hosts.require_same(facts[0])
    with pytest.raises(InputError, match="process 1 has another corpus than process 0"):
        hosts.require_same(facts[1])


def test_facts_differ_where_any_part_of_their_digests_does_and_not_by_the_order_of_their_names(
    monkeypatch,
):
    from jax.experimental import multihost_utils

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    sent = []
    monkeypatch.setattr(
        multihost_utils,
        "process_allgather",
        lambda local: sent.append(local) or np.stack([sent[0], local]),
    )
    hosts.require_same({"configuration": {"a": 1, "b": 2}})
    hosts.require_same({"configuration": {"b": 2, "a": 1}})
    for number in range(200):  # of 200 digests a few share a byte with the first
        with pytest.raises(InputError, match="process 1 has another configuration"):
            hosts.require_same({"configuration": number})


@pytest.mark.parametrize(("others", "holds"), [(True, True), (False, False)])
def test_a_fact_holds_on_all_hosts_where_it_holds_on_each(monkeypatch, others, holds):
    from jax.experimental import multihost_utils

    assert hosts.on_all_hosts(others) == holds  # alone
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost_utils, "process_allgather", lambda local: np.stack([local, [others]])
    )
    assert hosts.on_all_hosts(True) == holds


@pytest.mark.parametrize("other", [-(2**40), 3, 2**62])
def test_the_largest_of_the_hosts_numbers_is_one_for_all(monkeypatch, other):
    from jax.experimental import multihost_utils

    assert hosts.largest(other) == other  # alone
    gathered = lambda local: np.stack([local, np.frombuffer(np.int64(other).tobytes(), "u1")])  # noqa: E731
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", gathered)
    assert hosts.largest(2**33) == max(other, 2**33)


def test_the_chief_alone_says_a_line(monkeypatch, capsys):
    hosts.log_on_chief("a line")
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    hosts.log_on_chief("another")
    assert capsys.readouterr().err == "a line\n"


@pytest.mark.parametrize(
    ("truths", "seconds", "comes"),
    [
        ([True], 0, True),
        ([False, True], 0, True),
        ([False, False, True], 1, True),
        ([False] * 9, 1, False),
    ],
)
def test_a_condition_is_awaited_to_the_last_moment_and_no_longer(
    monkeypatch, truths, seconds, comes
):
    now, asked = [0.0], iter(truths)
    monkeypatch.setattr(hosts.time, "monotonic", lambda: now[0])

    def sleep(duration):
        now[0] += duration

    monkeypatch.setattr(hosts.time, "sleep", sleep)
    assert hosts.wait_until(lambda: next(asked), seconds=seconds) == comes
    assert now[0] <= seconds + 0.5


def test_a_process_feeds_the_parts_its_devices_hold_whatever_the_order_of_the_mesh(make_batch):
    devices = np.array(jax.devices())[[3, 1, 7, 5, 0, 2, 6, 4]]
    mesh = jax.sharding.Mesh(devices.reshape(4, 1, 2), partition.AXES)
    assert partition.host_rows(mesh) == ((0, 1, 2, 3), 4)
    local = make_batch()
    batch = partition.global_batch(local, mesh)
    np.testing.assert_array_equal(batch.waveforms, local.waveforms)
    assert batch.waveforms.addressable_shards[0].data.shape == (2, 1000)


@pytest.mark.parametrize("count", [1, 2])
def test_what_the_chief_finds_wrong_is_raised_on_every_host(monkeypatch, count):
    from jax.experimental import multihost_utils

    def wrong():
        raise InputError("--workdir über is in use")

    monkeypatch.setattr(jax, "process_count", lambda: count)
    sent = []
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda x: sent.append(x) or x)
    hosts.run_on_chief(lambda: None)
    with pytest.raises(InputError, match="--workdir über is in use"):
        hosts.run_on_chief(wrong)
    assert bool(sent) == (count == 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda _: sent[-1])
    if count == 2:  # the other host, whose action is never run
        with pytest.raises(InputError, match="--workdir über is in use"):
            hosts.run_on_chief(lambda: 1 / 0)


@pytest.fixture
def foreground():
    """A shell's background job ignores Ctrl-C, and so does what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Runtime:
    """JAX's, as far as a notice goes: all hosts stop at one more than the highest count seen."""

    def __init__(self, monkeypatch):
        from jax.experimental import multihost_utils

        self.highest, self.point = 0, None
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", self.reached)

    def notice(self):
        self.point = self.highest + 1

    def reached(self, count):
        self.highest = count
        return count == self.point


def test_a_notice_is_met_once_by_the_runtime_and_remembered_by_the_run(monkeypatch):
    """An alarm of the very update sends the run back before it has stopped."""
    runtime = Runtime(monkeypatch)
    with hosts.Preemption() as preemption:
        assert [preemption.reached() for _ in range(3)] == ["", "", ""]
        runtime.notice()
        assert [preemption.reached() for _ in range(3)] == ["SIGTERM"] * 3


def test_a_notice_before_the_first_update_is_met(monkeypatch):
    runtime = Runtime(monkeypatch)
    runtime.notice()
    with hosts.Preemption() as preemption:
        assert preemption.reached() == "SIGTERM"


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_signal_asks_to_stop_and_the_handlers_before_come_back(number, name):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with hosts.Preemption() as preemption:
        assert preemption.reached() == ""
        os.kill(os.getpid(), number)
        assert preemption.reached() == name
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.usefixtures("foreground")
def test_the_first_ctrl_c_says_what_a_second_does_which_ends_the_process(capfd):
    with hosts.Preemption():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert capfd.readouterr().err == "saving, then stopping; Ctrl-C again ends at once\n"


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_to_one_of_several_hosts_is_handed_to_the_runtime_as_sigterm(monkeypatch):
    Runtime(monkeypatch)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))  # the runtime's
    try:
        with hosts.Preemption():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["SIGTERM"]


def test_a_background_job_that_ignores_ctrl_c_goes_on_doing_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hosts.Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGINT)
            assert preemption.reached() == ""
    finally:
        signal.signal(signal.SIGINT, before)
