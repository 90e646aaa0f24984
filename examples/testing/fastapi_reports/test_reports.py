"""Reports, ordered and read over HTTP."""

from datetime import timedelta

from spinach import JobStatus

URL = "/reports/2030-01"


def test_a_report_is_there_when_its_job_is_done(client, books, spinach_worker):
    books.write_text("tea,3\ncoffee,4\n")
    client.post(URL)
    assert client.get(URL).status_code == 404
    spinach_worker.drain()
    assert client.get(URL).json() == "Sold in 2030-01: 7"


def test_a_report_waits_until_the_books_are_closed(client, books, spinach_jobs, spinach_worker):
    client.post(URL)
    spinach_worker.advance(timedelta(minutes=10))
    assert spinach_jobs.one("report.write").status is JobStatus.WAITING
    books.write_text("tea,3\n")
    spinach_worker.run_until_finished()
    assert spinach_jobs.one().status is JobStatus.SUCCEEDED


def test_with_workers_beside_the_application(client, books, spinach_live_worker):
    books.write_text("tea,3\n")
    client.post(URL)
    spinach_live_worker.wait_idle()
    assert client.get(URL).status_code == 200
