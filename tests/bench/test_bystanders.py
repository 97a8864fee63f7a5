"""What is read of the machine's processes."""

from __future__ import annotations

import time

from tests.bench.bystanders import Process, family_ticks, machine_ticks, parse_process, read_load


def test_a_process_counts_with_its_children_that_ended():
    stat = "17 (a) b (c) S 4 17 17 0 -1 4194304 1 2 3 4 100 20 3000 400 20 0 1 0 99 5 6"
    assert parse_process(stat) == Process(4, 3520)


def test_a_family_is_a_process_and_all_that_descend_from_it():
    processes = {
        1: Process(0, 1000),
        5: Process(1, 1),
        6: Process(5, 20),
        7: Process(6, 300),
        8: Process(1, 4000),
    }
    assert family_ticks(processes, 5) == 321


def test_waiting_and_interrupts_are_not_work():
    assert machine_ticks("cpu  1 20 300 5 5 5 5 4000 1 1\ncpu0 1 1 1 1 1 1 1 1 1 1\n") == 4321


def test_our_own_work_is_ours():
    before = read_load()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert read_load().ours - before.ours >= 0.08
