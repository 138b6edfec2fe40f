"""Mutation tests: a bug that is not caught is reported, and a case that fails without its bug is no proof."""

import pytest

from fifoq.testing import MakeBackend, ModelBackend, ModelStore
from fifoq.testing.contract.order import OrderCases
from fifoq.testing.contract.removal import RemovalCases
from fifoq.testing.model import claim, settle
from fifoq.testing.mutation import Mutant, check, is_caught


def make_store() -> MakeBackend:
    stores: dict[int, ModelStore] = {}
    return lambda clock: ModelBackend(stores.setdefault(0, ModelStore(clock)))


def shut(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever claimed."""
    patch.setattr(claim, "claimable", lambda *_: [])


def harmless(_: pytest.MonkeyPatch) -> None:
    """No bug at all."""


def test_a_caught_bug_is_caught() -> None:
    check(Mutant(shut, (OrderCases.test_jobs_of_a_key_run_in_order,)), make_store)


def test_a_bug_that_passes_is_reported_by_name() -> None:
    mutant = Mutant(harmless, (OrderCases.test_jobs_of_a_key_run_in_order,))
    with pytest.raises(AssertionError, match="test_jobs_of_a_key_run_in_order passes though harmless"):
        check(mutant, make_store)


def test_every_named_case_has_to_catch_the_bug() -> None:
    cases = (OrderCases.test_jobs_of_a_key_run_in_order, RemovalCases.test_an_ended_job_is_not_cancelled)
    with pytest.raises(AssertionError, match="though no_halt"):
        check(Mutant(no_halt, cases), make_store)


def no_halt(patch: pytest.MonkeyPatch) -> None:
    real = settle.settle
    patch.setattr(settle, "settle", lambda state, now, one: real(state, now, _without_halt(one)))


def _without_halt(settlement):
    outcome = settlement.outcome
    return settlement._replace(outcome=outcome._replace(halt=False)) if hasattr(outcome, "halt") else settlement


def test_a_case_that_fails_without_the_bug_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    shut(monkeypatch)
    with pytest.raises(AssertionError):
        check(Mutant(harmless, (OrderCases.test_jobs_of_a_key_run_in_order,)), make_store)


def test_a_case_with_parameters_is_tried_with_each() -> None:
    from fifoq.testing.contract.delay import DelayCases

    assert not is_caught(DelayCases.test_a_delayed_job_expires_before_it_falls_due, make_store)
