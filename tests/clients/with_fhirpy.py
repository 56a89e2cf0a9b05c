"""fhirpy against a node: `python with_fhirpy.py DEMO_JSON NODE`."""

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import ForbiddenError, ResourceNotFound

from demonstration import mark, node, patient, transaction

base_url, pair, authority = node()
client = SyncFHIRClient(base_url, requests_config={"cert": pair, "verify": authority})
value = mark()

# Create and read.
made = client.resource("Patient", **patient(value))
made.save()
assert made.id and made["meta"]["versionId"] == "1", made
read = client.reference("Patient", made.id).to_resource()
assert read["identifier"][0]["value"] == value
assert client.resources("Patient").search(identifier=value).get().id == made.id

# Update and history.
read["active"] = False
read.save()
read.refresh()
assert read["meta"]["versionId"] == "2", read
history = client.execute(f"Patient/{made.id}/_history", method="get")
assert [entry["request"]["method"] for entry in history["entry"]] == ["POST", "PUT"], history

# A transaction, and a search that follows its pages.
many = mark()
answer = client.execute("", data=transaction(many, 7))
assert [entry["response"]["status"] for entry in answer["entry"]] == ["201 Created"] * 7, answer
pages = client.resources("Patient").search(identifier=many).sort("_lastUpdated").limit(3)
assert len({found.id for found in pages}) == 7
assert client.resources("Patient").search(identifier=many).count() == 7

# Conditional create.
once = mark()
fields = {"If-None-Exist": f"identifier=http://test.example/mark|{once}"}
post = lambda: client._do_request("post", "Patient", patient(once), extra_headers=fields, returning_status=True)[1]
assert [post(), post()] == [201, 200]
assert client.resources("Patient").search(identifier=once).count() == 1

# Conditional update.
_, is_new = client.resources("Patient").search(identifier=once).update(client.resource("Patient", **patient(once)))
assert not is_new

# Delete, and what is refused.
made.delete()
try:
    client.reference("Patient", made.id).to_resource()
    raise AssertionError("a deleted resource was read")
except ResourceNotFound:
    pass
try:
    client.resource("Patient", active=True).save()
    raise AssertionError("a resource without readers was stored")
except ForbiddenError:
    pass
print("fhirpy: create, read, update, delete, search with pages, transaction, conditional create, history")
