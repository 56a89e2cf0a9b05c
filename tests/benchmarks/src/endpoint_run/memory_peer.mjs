// The FHIR server that the engine is measured beside: the router and the repository in memory of npm @medplum/fhir-router
// behind Node's own HTTP server on a Unix socket. Nothing is validated against profiles, authorised or stored.
import { createServer } from 'node:http';
import { chmodSync } from 'node:fs';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const [, , socket] = process.argv;
const router = new FhirRouter();
const repository = new MemoryRepository();
const statuses = { created: 201, ok: 200, 'not-found': 404 };

async function answer(request, response, text) {
  const url = request.url.replace(/^\/fhir\/?/, '');
  if (url === 'ready') {
    response.end('ready');
    return;
  }
  const body = text ? JSON.parse(text) : undefined;
  const asked = { method: request.method, url, pathname: '', params: {}, query: {}, headers: request.headers, body };
  const [outcome, resource] = await router.handleRequest(asked, repository);
  const printed = Buffer.from(JSON.stringify(resource ?? outcome));
  const version = resource?.meta?.versionId ?? '';
  response.writeHead(statuses[outcome.id] ?? 400, {
    'Content-Type': 'application/fhir+json;charset=utf-8',
    'Content-Length': printed.length,
    ETag: `W/"${version}"`,
  });
  response.end(printed);
}

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    answer(request, response, Buffer.concat(parts).toString('utf8')).catch((error) => {
      response.writeHead(500);
      response.end(String(error));
    });
  });
});
server.keepAliveTimeout = 75000;
server.listen(socket, () => {
  chmodSync(socket, 0o666);
  console.log('ready');
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
