"""Lets a worker with a public external-task client work a queue of Tasks, with kills.

    external_task_queue.py DEMO_JSON NODE COMMAND...

The node gets a process plug-in and a listener for workers; COMMAND is the worker, which takes WORKER_URL, WORKER_TOKEN and
WORKER_TOPIC from its environment. It is killed once on the way; with SCHLEUSE_SLOW=1 the queue has 10 000 Tasks, and worker
and engine are killed several times. In the end every Task must be completed, and completed once: three versions of it
(requested, in-progress, completed) and not one more.
"""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid

SLOW = os.environ.get("SCHLEUSE_SLOW") == "1"
QUEUE = 10_000 if SLOW else 300
# Parts of the queue at which something is killed.
WORKER_KILLS = (0.2, 0.45, 0.7) if SLOW else (0.3,)
ENGINE_KILLS = (0.3, 0.55, 0.8) if SLOW else ()
LONGEST = 3600 if SLOW else 240
ENTRIES = 50
PROCESS = "http://example.org/bpe/Process/queue|1.0"
PROFILE = "http://example.org/fhir/StructureDefinition/task-queue|1.0"
TOPIC = "queue-greet"
TOKEN = "7b1c0f3e5d2a49868f0e1d2c3b4a59687786"


class Node:
    """A node of a demonstration network."""

    def __init__(self, document, name):
        self.document = pathlib.Path(document)
        self.name = name
        self.connection = None
        own = self.read()["organization"]
        root = self.document.parent
        self.authority = str(root / json.loads(self.document.read_text())["authority"])
        self.context = ssl.create_default_context(cafile=self.authority)
        self.context.load_cert_chain(root / own["certificate"], root / own["private_key"])
        self.base = urllib.parse.urlsplit(self.read()["base_url"])
        self.directory = root / self.read()["directory"]

    def read(self):
        """The node as demo.json describes it now."""
        content = json.loads(self.document.read_text())
        return next(node for node in content["nodes"] if node["name"] == self.name)

    def ask(self, method, path, body=None):
        """A request of the node's own organisation, again while the engine is being started."""
        end = time.monotonic() + 90
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPSConnection(
                        self.base.hostname, self.base.port, context=self.context, timeout=60
                    )
                headers = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
                content = None if body is None else json.dumps(body)
                self.connection.request(method, self.base.path + path, content, headers)
                answer = self.connection.getresponse()
                content = answer.read()
                if answer.status < 500:
                    assert answer.status < 400, (path, answer.status, content[:2000])
                    return json.loads(content)
            except (OSError, http.client.HTTPException):
                self.connection = None
            assert time.monotonic() < end, f"no answer to {method} {path}"
            time.sleep(0.2)

    def count(self, query):
        """How many Tasks a search finds."""
        return self.ask("GET", f"/Task?{query}&_summary=count")["total"]

    def kill_engine(self):
        """kill -9, and waits for the next one."""
        before = self.read()["engine_pid"]
        os.kill(before, signal.SIGKILL)
        end = time.monotonic() + 120
        while self.read()["engine_pid"] == before:
            assert time.monotonic() < end, "the engine was not started again"
            time.sleep(0.1)
        self.ask("GET", "/metadata")


def schleuse(*words):
    """Runs the command line."""
    program = os.path.join(os.environ["SCHLEUSE_BIN_DIR"], "schleuse")
    subprocess.run([program, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return holder.getsockname()[1]


def prepare(node):
    """Opens the listener and installs the plug-in; gives the address of the listener."""
    settings = node.directory / "node.toml"
    text = settings.read_text()
    found = re.search(r'^listen = "127.0.0.1:(\d+)"$', text, re.M)
    if found:
        return f"https://localhost:{found[1]}/engine-rest"
    port = free_port()
    server = re.search(r'^server = \{ certificate = "([^"]*)", private-key = "([^"]*)" \}', text, re.M)
    keys = f'listen = "127.0.0.1:{port}"\ncertificate = "{server[1]}"\nprivate-key = "{server[2]}"\n'
    table = f'\n[[workers.credential]]\nname = "queue"\ntopics = ["{TOPIC}"]\ntoken-file = "queue.token"\n'
    if "\n[workers]\n" in text:
        head, rest = text.split("\n[workers]\n")
        own, bracket, others = rest.partition("\n[")
        text = f"{head}\n[workers]\n{keys}{own}{table}{bracket}{others}"
    else:
        text += f"\n[workers]\n{keys}{table}"
    token = node.directory / "queue.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    settings.write_text(text)
    node.kill_engine()
    example = node.document.parent / "queue"
    schleuse("process", "new", example)
    model = example / "bpe" / "process.bpmn"
    text = model.read_text()
    # Without its user task the process is a queue.
    text = re.sub(r"\s*<userTask [^>]*/>", "", text).replace('targetRef="release"', 'targetRef="greet"')
    model.write_text(re.sub(r'\s*<sequenceFlow id="toGreet"[^>]*/>', "", text))
    (example / "fhir" / "Questionnaire" / "release.xml").unlink()
    for scenario in (example / "tests").iterdir():
        scenario.unlink()
    schleuse("process", "install", example, node.directory)
    return f"https://localhost:{port}/engine-rest"


def new_task(organization):
    """A Task that starts the process."""
    party = {
        "type": "Organization",
        "identifier": {"system": "http://dsf.dev/sid/organization-identifier", "value": organization},
    }
    message = {"system": "http://dsf.dev/fhir/CodeSystem/bpmn-message", "code": "message-name"}
    return {
        "resourceType": "Task",
        "meta": {"profile": [PROFILE]},
        "instantiatesCanonical": PROCESS,
        "status": "requested",
        "intent": "order",
        "authoredOn": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "requester": party,
        "restriction": {"recipient": [party]},
        "input": [{"type": {"coding": [message]}, "valueString": "queue"}],
    }


def fill(node, count):
    """Creates the Tasks; gives their ids."""
    organization = node.read()["organization_identifier"]
    created = []
    while len(created) < count:
        entries = [
            {
                "fullUrl": f"urn:uuid:{uuid.uuid4()}",
                "resource": new_task(organization),
                "request": {"method": "POST", "url": "Task"},
            }
            for _ in range(min(ENTRIES, count - len(created)))
        ]
        answer = node.ask("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        created += [entry["response"]["location"].split("/Task/")[1].split("/")[0] for entry in answer["entry"]]
    return created


def main():
    node = Node(sys.argv[1], sys.argv[2])
    command = sys.argv[3:]
    environment = {
        **os.environ,
        "WORKER_URL": prepare(node),
        "WORKER_TOKEN": TOKEN,
        "WORKER_TOPIC": TOPIC,
        "NODE_EXTRA_CA_CERTS": node.authority,
        "REQUESTS_CA_BUNDLE": node.authority,
    }
    before = node.count("status=completed")
    created = fill(node, QUEUE)
    log = open(node.document.parent / f"worker-{uuid.uuid4()}.log", "wb")

    def start():
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    worker = start()
    kills = sorted([(part, "worker") for part in WORKER_KILLS] + [(part, "engine") for part in ENGINE_KILLS])
    begun, done = time.monotonic(), 0
    try:
        while done < QUEUE:
            assert time.monotonic() - begun < LONGEST, f"{done} of {QUEUE} are completed; see {log.name}"
            if worker.poll() is not None:
                raise AssertionError(f"the worker ended: {pathlib.Path(log.name).read_text()[-2000:]}")
            done = node.count("status=completed") - before
            if kills and done >= kills[0][0] * QUEUE:
                what = kills.pop(0)[1]
                if what == "worker":
                    worker.kill()
                    worker.wait()
                    worker = start()
                else:
                    node.kill_engine()
                print(f"{what} killed after {done} of {QUEUE}", flush=True)
            time.sleep(0.2)
    finally:
        worker.kill()
        worker.wait()
    seconds = time.monotonic() - begun
    wanted, page = set(created), 1
    assert len(wanted) == QUEUE
    while wanted:
        bundle = node.ask("GET", f"/Task?status=completed&_sort=-_lastUpdated&_count=500&_page={page}")
        entries = bundle.get("entry", [])
        assert entries, f"{len(wanted)} Tasks are not completed"
        for entry in entries:
            task = entry["resource"]
            if task["id"] in wanted:
                wanted.remove(task["id"])
                assert task["meta"]["versionId"] == "3", (task["id"], task["meta"])
        page += 1
    print(f"{QUEUE} Tasks completed once each in {seconds:.0f} s", flush=True)


main()
