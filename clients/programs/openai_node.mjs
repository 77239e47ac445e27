// Uses of the `openai` package of Node, each as its documentation shows it.

import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const model = "gpt";
const question = "the question";
const messages = [{ role: "user", content: question }];
const Step = z.object({ title: z.string(), minutes: z.number() });
const City = z.object({ city: z.string() });

const connect = (baseURL, { maxRetries = 0, apiKey = "sk-test" } = {}) => new OpenAI({ baseURL, apiKey, maxRetries });

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

// chat

export async function chat(url, { body = {}, ...client }) {
  const call = connect(url, client).chat.completions.create({ model, messages, ...body });
  const { data, request_id } = await call.withResponse();
  return { ...data, request_id };
}

export async function chatChunks(url, { body = {} }) {
  const stream_options = { include_usage: true };
  return all(await connect(url).chat.completions.create({ model, messages, stream: true, stream_options, ...body }));
}

export async function chatStreamHelper(url) {
  const stream = connect(url).chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
  const deltas = [];
  const snapshots = [];
  stream.on("content", (delta, snapshot) => {
    deltas.push(delta);
    snapshots.push(snapshot);
  });
  const completion = await stream.finalChatCompletion();
  return { deltas, snapshots, completion };
}

export async function chatParse(url) {
  const response_format = zodResponseFormat(Step, "step");
  const completion = await connect(url).chat.completions.parse({ model, messages, response_format });
  return completion.choices[0].message.parsed;
}

export async function runTools(url, { stream }) {
  const asked = [];
  const getWeather = {
    type: "function",
    function: {
      name: "get_weather",
      description: "Tell the weather.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      parse: JSON.parse,
      function: ({ city }) => {
        asked.push(city);
        return `rain in ${city}`;
      },
    },
  };
  const runner = connect(url).chat.completions.runTools({ model, messages, tools: [getWeather], stream });
  const text = await runner.finalContent();
  return { asked, text, roles: runner.messages.map((message) => message.role) };
}

// responses

export async function respond(url, { body = {}, ...client }) {
  const response = await connect(url, client).responses.create({ model, input: question, ...body });
  return { ...response, output_text: response.output_text };
}

export async function respondEvents(url) {
  return all(await connect(url).responses.create({ model, input: question, stream: true }));
}

export async function respondHelper(url, { schema = false }) {
  const text = schema ? { format: zodTextFormat(Step, "step") } : undefined;
  const stream = connect(url).responses.stream({ model, input: question, text });
  const snapshots = [];
  stream.on("response.output_text.delta", (event) => snapshots.push(event.snapshot));
  const events = await all(stream);
  const final = await stream.finalResponse();
  return { types: events.map((event) => event.type), snapshots, final, text: final.output_text };
}

export async function respondParse(url) {
  const text = { format: zodTextFormat(Step, "step") };
  const response = await connect(url).responses.parse({ model, input: question, text });
  return response.output_parsed;
}

export async function respondTools(url, { stream }) {
  const tools = [zodResponsesFunction({ name: "get_weather", description: "Tell the weather.", parameters: City })];
  const client = connect(url);
  const ask = async (input) => {
    const body = { model, input, tools, store: false, include: ["reasoning.encrypted_content"] };
    return stream ? client.responses.stream(body).finalResponse() : client.responses.parse(body);
  };
  const input = [{ role: "user", content: question }];
  const asked = [];
  for (;;) {
    const response = await ask(input);
    const calls = response.output.filter((item) => item.type === "function_call");
    if (calls.length === 0) return { asked, text: response.output_text };
    input.push(...response.output);
    for (const { call_id, parsed_arguments } of calls) {
      asked.push(parsed_arguments.city);
      input.push({ type: "function_call_output", call_id, output: `rain in ${parsed_arguments.city}` });
    }
  }
}

// the others

export async function embeddings(url, { body = {} }) {
  const { data, usage, model: served } = await connect(url).embeddings.create({ model, input: ["a", "b"], ...body });
  return { vectors: data.map((one) => one.embedding), usage, model: served };
}

export async function images(url) {
  return connect(url).images.generate({ model, prompt: "a cat" });
}

export async function imageEdit(url) {
  const image = await toFile(Buffer.from([137, 80, 78, 71, 0, 255]), "cat.png", { type: "image/png" });
  return connect(url).images.edit({ model, image, prompt: "a hat" });
}

export async function imageStream(url) {
  return all(await connect(url).images.generate({ model, prompt: "a cat", stream: true, partial_images: 2 }));
}

export async function models(url) {
  return (await all(connect(url).models.list())).map((one) => one.id);
}

// leaving in the middle

export async function abortChat(url) {
  const stream = await connect(url).chat.completions.create({ model, messages, stream: true });
  return leaveAfterTheFirst(stream, (chunk) => chunk.choices[0]?.delta.content);
}

export async function abortRespond(url) {
  const stream = await connect(url).responses.create({ model, input: question, stream: true });
  return leaveAfterTheFirst(stream, (event) => event.type === "response.output_text.delta" && event.delta);
}

async function leaveAfterTheFirst(stream, textOf) {
  const seen = [];
  for await (const event of stream) {
    const text = textOf(event);
    if (text) {
      seen.push(text);
      stream.controller.abort();
    }
  }
  return seen;
}
