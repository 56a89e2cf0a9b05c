"""What the Python scripts share: the node of demo.json, and resources to work with."""

import json
import pathlib
import sys
import uuid

READ_ACCESS = "http://dsf.dev/fhir/CodeSystem/read-access-tag"


def node():
    """Base URL, certificate with key, and authority of the node that the command line names."""
    document, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    content = json.loads(document.read_text())
    root = document.parent
    found = next(node for node in content["nodes"] if node["name"] == name)
    own = found["organization"]
    pair = (str(root / own["certificate"]), str(root / own["private_key"]))
    return found["base_url"], pair, str(root / content["authority"])


def mark():
    """A value that no other run uses."""
    return str(uuid.uuid4())


def patient(value):
    """A patient that every organisation may read."""
    return {
        "resourceType": "Patient",
        "meta": {"tag": [{"system": READ_ACCESS, "code": "ALL"}]},
        "identifier": [{"system": "http://test.example/mark", "value": value}],
        "active": True,
    }


def transaction(value, count):
    """A transaction that makes `count` patients."""
    entries = [
        {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}",
            "resource": patient(value),
            "request": {"method": "POST", "url": "Patient"},
        }
        for _ in range(count)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}
