// A worker with camunda-external-task-client-js (npm): completes every task of its topic.

import { Client, Variables, logger } from 'camunda-external-task-client-js';

const bearer = (config) => ({
    ...config,
    headers: { ...config.headers, Authorization: `Bearer ${process.env.WORKER_TOKEN}` },
});
const client = new Client({
    baseUrl: process.env.WORKER_URL,
    workerId: `javascript-${process.pid}`,
    maxTasks: 20,
    lockDuration: 10_000,
    asyncResponseTimeout: 5_000,
    interval: 50,
    interceptors: bearer,
    use: logger.level('error'),
});

client.subscribe(process.env.WORKER_TOPIC, async ({ task, taskService }) => {
    const variables = new Variables();
    variables.set('greeted', task.businessKey);
    await taskService.complete(task, variables);
});
