"""A worker with camunda-external-task-client-python3 (PyPI): completes every task of its topic."""

import os

from camunda.external_task.external_task_worker import ExternalTaskWorker

CONFIG = {
    "maxTasks": 20,
    "lockDuration": 10_000,
    "asyncResponseTimeout": 5_000,
    "retries": 3,
    "retryTimeout": 1_000,
    "sleepSeconds": 1,
    "auth_bearer": {"access_token": os.environ["WORKER_TOKEN"]},
}


def greet(task):
    """What the worker does."""
    return task.complete({"greeted": task.get_business_key()})


ExternalTaskWorker(f"python-{os.getpid()}", os.environ["WORKER_URL"], CONFIG).subscribe(os.environ["WORKER_TOPIC"], greet)
