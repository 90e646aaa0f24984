"""The mark and the configuration: threads, and real seconds."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester, only_this_plugin):
    """Runs a project whose test file is given as source."""

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(textwrap.dedent(source))
        return pytester.runpytest_inprocess(
            "-p", "spinach_testing.plugin", "-p", "no:cacheprovider", *options
        )

    return run


def test_marks_and_configuration_set_workers_and_timeout(project, pytester):
    pytester.makeini("[pytest]\nspinach_workers = 2\nspinach_timeout = 7.5\n")
    project(
        """
        import pytest

        def of(worker):
            return worker._workers, worker._timeout

        def test_configured(spinach_worker):
            assert of(spinach_worker) == (2, 7.5)

        @pytest.mark.spinach(workers=3)
        class TestMarked:
            def test_class(self, spinach_worker):
                assert of(spinach_worker) == (3, 7.5)

            @pytest.mark.spinach(timeout=1)
            def test_both(self, spinach_worker):
                assert of(spinach_worker) == (3, 1)

            @pytest.mark.spinach(workers=1, timeout=2)
            def test_closest(self, spinach_worker):
                assert of(spinach_worker) == (1, 2)
    """,
        "--strict-markers",
    ).assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ("wokers=2", "'wokers' is unknown"),
        ("2", "2 has no name"),
        ("workers=0", "workers is 0, expected an int of at least 1"),
        ("timeout='long'", "timeout is 'long', expected real seconds above 0, 86400 at most"),
        ("timeout=1e10", "timeout is 10000000000.0, expected real seconds above 0, 86400 at most"),
        ("timeout=True", "timeout is True, expected real seconds above 0, 86400 at most"),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused(project, mark, problem):
    result = project(f"""
        import pytest

        @pytest.mark.spinach({mark})
        def test_it():
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            (
                f"In the mark spinach, {problem}. It takes workers= (threads) and timeout= (real "
                "seconds): @pytest.mark.spinach(workers=2, timeout=5)."
            )
        ]
    )


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("spinach_workers=many", "spinach_workers is not an int: *'many'"),
        ("spinach_workers=0", "spinach_workers is 0, expected an int of at least 1"),
        ("spinach_timeout=long", "spinach_timeout is not a number: *'long'"),
        (
            "spinach_timeout=-1",
            "spinach_timeout is -1.0, expected real seconds above 0, 86400 at most",
        ),
        (
            "spinach_timeout=inf",
            "spinach_timeout is inf, expected real seconds above 0, 86400 at most",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(project, option, problem):
    result = project("def test_it(): pass", "-o", option)
    result.stderr.fnmatch_lines([f"ERROR: In the configuration of pytest, {problem}*"])


#: Sections of pyproject.toml: values as texts, and since pytest 9 as what they are.
SECTIONS = {"tool.pytest.ini_options": ["2", '"2"'], "tool.pytest": ["2"]}


@pytest.mark.parametrize(
    ("section", "number"), [(name, each) for name, values in SECTIONS.items() for each in values]
)
def test_numbers_in_toml_are_numbers(project, pytester, section, number):
    if section == "tool.pytest" and pytest.version_tuple < (9,):
        pytest.skip("this pytest does not read that section")
    pytester.makepyprojecttoml(
        f"[{section}]\nspinach_workers = {number}\nspinach_timeout = {number}\n"
    )
    project("""
        def test_it(spinach_worker):
            assert (spinach_worker._workers, spinach_worker._timeout) == (2, 2.0)
    """).assert_outcomes(passed=1)


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="this pytest does not read that section")
def test_a_text_where_toml_has_numbers_is_refused(project, pytester):
    pytester.makepyprojecttoml('[tool.pytest]\nspinach_workers = "2"\n')
    result = project("def test_it(): pass")
    result.stderr.fnmatch_lines(
        ["ERROR: In the configuration of pytest, spinach_workers is not an int: *str: '2'"]
    )
