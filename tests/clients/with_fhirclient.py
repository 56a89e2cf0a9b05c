"""fhirclient (SMART) against a node: `python with_fhirclient.py DEMO_JSON NODE`."""

from fhirclient import client as smart
from fhirclient.models.bundle import Bundle
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException

from demonstration import mark, node, patient, transaction

base_url, pair, authority = node()
connection = smart.FHIRClient(settings={"app_id": "schleuse-test", "api_base": base_url})
server = connection.server
server.session.cert, server.session.verify = pair, authority
# Else a variable such as REQUESTS_CA_BUNDLE wins over the authority that was just named.
server.session.trust_env = False
statement = server.capabilityStatement
assert statement.fhirVersion == "4.0.1" and len(statement.rest[0].resource) == 26

# Create and read. The models of this library check every element that they read.
value = mark()
answer = Patient(patient(value)).create(server)
identifier = answer["id"]
read = Patient.read(identifier, server)
assert read.identifier[0].value == value and read.meta.versionId == "1"

# Update and history.
read.active = False
read.update(server)
history = Bundle(server.request_json(f"Patient/{identifier}/_history"))
assert history.total == 2
assert [entry.request.method for entry in history.entry] == ["POST", "PUT"]
assert [entry.resource.active for entry in history.entry] == [True, False]

# A transaction, and a search that follows its pages.
many = mark()
answer = Bundle(server.post_json("", transaction(many, 7)).json())
assert [entry.response.status for entry in answer.entry] == ["201 Created"] * 7
search = Patient.where({"identifier": many, "_count": "3", "_sort": "_lastUpdated"})
pages = list(search.perform_iter(server))
assert [len(page.entry) for page in pages] == [3, 3, 1], [len(page.entry) for page in pages]
assert len({found.id for found in search.perform_resources_iter(server)}) == 7

# Conditional create.
once = mark()
server.session.headers["If-None-Exist"] = f"identifier=http://test.example/mark|{once}"
statuses = [server.post_json("Patient", patient(once)).status_code for _ in range(2)]
del server.session.headers["If-None-Exist"]
assert statuses == [201, 200], statuses
assert len(Patient.where({"identifier": once}).perform_resources(server)) == 1

# Delete, and what is refused.
read.delete(server)
for refused, expected in [
    (lambda: Patient.read("00000000-0000-4000-8000-000000000000", server), FHIRNotFoundException),
    (lambda: Patient({"active": True}).create(server), FHIRPermissionDeniedException),
]:
    try:
        refused()
        raise AssertionError("was not refused")
    except expected:
        pass
print("fhirclient: create, read, update, delete, search with pages, transaction, conditional create, history")
