"""The explorer itself: it finds what it has to find, and leaves out only repeats."""

from __future__ import annotations

import pytest

from .explorer import Deadlock, Run, explore


def test_every_order_of_two_steps_on_one_lock_is_run():
    orders = set()

    def program(run: Run):
        lock, order = run.Lock(), []

        def step(name):
            def body():
                for _ in range(2):
                    with lock:
                        order.append(name)

            return body

        run.thread("a", step("a"))
        run.thread("b", step("b"))
        return order, lambda: orders.add("".join(order))

    report = explore(program)

    assert orders == {"aabb", "abab", "abba", "baab", "baba", "bbaa"}
    assert report.executions == 6


def test_orders_that_lead_to_the_same_state_are_not_run_twice():
    def program(run: Run):
        for name in ("a", "b", "c"):
            lock = run.Lock()

            def body(lock=lock):
                for _ in range(3):
                    with lock:
                        pass

            run.thread(name, body)
        return None, lambda: None

    # 9!/(3!)^3 = 1,680 orders of the steps go through 4^3 states.
    report = explore(program)

    assert report.states == 4**3 - 1  # In the last one nothing is left to choose.


def test_a_lost_update_is_found():
    def program(run: Run):
        lock, count = run.Lock(), [0]

        def body():
            with lock:
                seen = count[0]
            with lock:
                count[0] = seen + 1

        def check():
            assert count[0] == 2, "an update was lost"

        run.thread("a", body)
        run.thread("b", body)
        return count, check

    with pytest.raises(AssertionError, match="an update was lost") as raised:
        explore(program)
    assert any("Order of the steps" in note for note in raised.value.__notes__)


def test_a_lost_wake_up_is_found():
    def program(run: Run):
        lock = run.Lock()
        condition = run.Condition(lock)
        news = []

        def waiter():
            with lock:
                empty = not news
            if empty:  # The news may come right here.
                with condition:
                    condition.wait()

        def teller():
            with condition:
                news.append(1)
                condition.notify()

        run.thread("waiter", waiter)
        run.thread("teller", teller)
        return news, lambda: None

    with pytest.raises(Deadlock, match="waiter wait for ever"):
        explore(program)


def test_a_deadlock_of_two_locks_is_found():
    def program(run: Run):
        one, two = run.Lock(), run.Lock()

        def body(first, second):
            def inner():
                with first, second:
                    pass

            return inner

        run.thread("a", body(one, two))
        run.thread("b", body(two, one))
        return None, lambda: None

    with pytest.raises(Deadlock, match="a, b wait for ever"):
        explore(program)


def test_it_says_when_there_are_more_states_than_it_may_see():
    def program(run: Run):
        lock = run.Lock()

        def body():
            for _ in range(4):
                with lock:
                    pass

        for name in "abc":
            run.thread(name, body)
        return None, lambda: None

    with pytest.raises(AssertionError, match="more than 10 states"):
        explore(program, most=10)
