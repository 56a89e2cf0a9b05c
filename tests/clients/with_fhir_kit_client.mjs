// fhir-kit-client against a node: `node with_fhir_kit_client.mjs DEMO_JSON NODE`.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Client } from 'fhir-kit-client';
import { Agent, setGlobalDispatcher } from 'undici';

const [document, name] = process.argv.slice(2);
const demonstration = JSON.parse(readFileSync(document, 'utf8'));
const node = demonstration.nodes.find((candidate) => candidate.name === name);
const read = (path) => readFileSync(join(dirname(document), path));

// The library sends by the platform's fetch, whose client certificate is the platform's matter.
setGlobalDispatcher(
    new Agent({
        connect: {
            ca: read(demonstration.authority),
            cert: read(node.organization.certificate),
            key: read(node.organization.private_key),
        },
    }),
);
const client = new Client({ baseUrl: node.base_url });

const patient = (value) => ({
    resourceType: 'Patient',
    meta: { tag: [{ system: 'http://dsf.dev/fhir/CodeSystem/read-access-tag', code: 'ALL' }] },
    identifier: [{ system: 'http://test.example/mark', value }],
    active: true,
});
const status = (answer) => Client.httpFor(answer).response.status;
const refused = async (request, expected) => {
    await assert.rejects(request, (error) => error.response.status === expected);
};

const statement = await client.capabilityStatement();
assert.equal(statement.fhirVersion, '4.0.1');

// Create and read.
const value = randomUUID();
const made = await client.create({ resourceType: 'Patient', body: patient(value) });
assert.equal(status(made), 201);
const id = made.id;
assert.equal((await client.read({ resourceType: 'Patient', id })).identifier[0].value, value);
assert.equal((await client.vread({ resourceType: 'Patient', id, version: '1' })).meta.versionId, '1');

// Update and history.
await client.update({ resourceType: 'Patient', id, body: { ...patient(value), id, active: false } });
const history = await client.resourceHistory({ resourceType: 'Patient', id });
assert.deepEqual(history.entry.map((entry) => entry.request.method), ['POST', 'PUT']);
assert.ok((await client.typeHistory({ resourceType: 'Patient' })).total >= 2);
assert.ok((await client.systemHistory()).total >= 2);

// A transaction, and a search that follows its pages.
const many = randomUUID();
const entry = Array.from({ length: 7 }, () => ({
    fullUrl: `urn:uuid:${randomUUID()}`,
    resource: patient(many),
    request: { method: 'POST', url: 'Patient' },
}));
const answer = await client.transaction({ body: { resourceType: 'Bundle', type: 'transaction', entry } });
assert.deepEqual(answer.entry.map((made) => made.response.status), Array(7).fill('201 Created'));
const found = new Set();
let page = await client.search({ resourceType: 'Patient', searchParams: { identifier: many, _count: 3 } });
assert.equal(page.total, 7);
for (let pages = 0; page && pages < 10; pages += 1) {
    for (const match of page.entry ?? []) found.add(match.resource.id);
    page = await client.nextPage({ bundle: page });
}
assert.equal(found.size, 7);

// Conditional create.
const once = randomUUID();
const options = { headers: { 'If-None-Exist': `identifier=http://test.example/mark|${once}` } };
const create = () => client.create({ resourceType: 'Patient', body: patient(once), options });
assert.deepEqual([status(await create()), status(await create())], [201, 200]);
const hits = await client.search({ resourceType: 'Patient', searchParams: { identifier: once } });
assert.equal(hits.total, 1);

// Delete, and what is refused.
await client.delete({ resourceType: 'Patient', id });
await refused(client.read({ resourceType: 'Patient', id }), 410);
await refused(client.read({ resourceType: 'Patient', id: randomUUID() }), 404);
await refused(client.create({ resourceType: 'Patient', body: { resourceType: 'Patient' } }), 403);
console.log('fhir-kit-client: create, read, update, delete, search with pages, transaction, conditional create, history');
process.exit(0);
