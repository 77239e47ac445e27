// Uses of libraries as a service, one JSON object a line: {library, use, url, options} in, {value} or {error, stack} out.

import { createInterface } from "node:readline";

function kinds(error) {
  const names = [];
  for (let kind = Object.getPrototypeOf(error); kind; kind = Object.getPrototypeOf(kind)) names.push(kind.constructor.name);
  return names;
}

function told(error) {
  const { name, message, code, param, type, requestID } = error;
  return { kinds: kinds(error), name, message, status: error.status ?? error.statusCode, code, param, type, requestID };
}

async function outcomeOf({ library, use, url, options }) {
  try {
    const uses = await import(`./${library}.mjs`);
    return { value: (await uses[use](`${url}/v1`, options)) ?? null };
  } catch (error) {
    return { error: told(error), stack: error.stack };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcomeOf(JSON.parse(line)))}\n`);
}
