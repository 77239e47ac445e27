// Uses of the AI SDK (`ai`) over each provider package that speaks an API of OpenAI's shape.

import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateImage, generateObject, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const apiKey = "sk-test";
const name = "gateway";
const prompt = "the question";
const Step = z.object({ title: z.string(), minutes: z.number() });

const openai = (baseURL) => createOpenAI({ baseURL, apiKey });
const compatible = (baseURL) =>
  createOpenAICompatible({ name, baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });

const MODELS = {
  "openai": (url, model) => openai(url)(model),
  "openai.chat": (url, model) => openai(url).chat(model),
  "openai-compatible": (url, model) => compatible(url)(model),
  "open-responses": (url, model) => createOpenResponses({ name, url: `${url}/responses`, apiKey })(model),
};

// What every use takes: the provider, the model's name, and options that only `@ai-sdk/openai` reads.
function common(url, { provider, model = "gpt", openai = {}, maxRetries = 0 }) {
  return { model: MODELS[provider](url, model), maxRetries, providerOptions: { openai } };
}

function weather(asked) {
  return tool({
    description: "Tell the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return `rain in ${city}`;
    },
  });
}

const shown = ({ text, reasoningText, finishReason, usage, steps, response, warnings }) => ({
  text,
  reasoning: reasoningText,
  finishReason,
  usage,
  steps: steps.map((step) => step.text),
  model: response.modelId,
  warnings,
});

export async function generate(url, options) {
  return shown(await generateText({ prompt, ...common(url, options) }));
}

// A stream read to its end, with the errors in it raised.
async function read(result) {
  const pieces = [];
  const reasoning = [];
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") pieces.push(part.text);
    if (part.type === "reasoning-delta") reasoning.push(part.text);
    if (part.type === "error") throw part.error;
  }
  const told = {};
  for (const key of ["text", "reasoningText", "finishReason", "usage", "steps", "response", "warnings"]) {
    told[key] = await result[key];
  }
  return { ...shown(told), pieces, thoughts: reasoning };
}

export async function stream(url, options) {
  return read(streamText({ prompt, onError: () => {}, ...common(url, options) }));
}

export async function useTools(url, { streamed, ...options }) {
  const asked = [];
  const request = {
    prompt,
    tools: { get_weather: weather(asked) },
    stopWhen: stepCountIs(5),
    ...common(url, options),
  };
  const told = streamed
    ? await read(streamText({ onError: () => {}, ...request }))
    : shown(await generateText(request));
  return { ...told, asked };
}

export async function object(url, options) {
  return (await generateObject({ schema: Step, prompt, ...common(url, options) })).object;
}

export async function output(url, { streamed, ...options }) {
  const request = { prompt, output: Output.object({ schema: Step }), ...common(url, options) };
  if (!streamed) return (await generateText(request)).output;
  const result = streamText(request);
  const partial = [];
  for await (const one of result.partialOutputStream) partial.push(one);
  return { partial, whole: await result.output };
}

export async function see(url, options) {
  const image = Buffer.from("iVBORw0KGgo=", "base64");
  const content = [
    { type: "text", text: "what is this?" },
    { type: "file", data: image, mediaType: "image/png" },
  ];
  return shown(await generateText({ messages: [{ role: "user", content }], ...common(url, options) }));
}

// Two turns; the second is told what was answered in the first.
export async function converse(url, options) {
  const messages = [{ role: "user", content: "first" }];
  const first = await generateText({ messages, ...common(url, options) });
  messages.push(...first.response.messages, { role: "user", content: "second" });
  const second = await generateText({ messages, ...common(url, options) });
  return [first.text, second.text];
}

export async function embedding(url, { provider }) {
  const made = { "openai": openai, "openai-compatible": compatible }[provider](url);
  const { embeddings, usage } = await embedMany({ model: made.embeddingModel("gpt"), values: ["a", "b"], maxRetries: 0 });
  return { vectors: embeddings, usage };
}

export async function image(url, { provider }) {
  const made = { "openai": openai, "openai-compatible": compatible }[provider](url);
  const { image } = await generateImage({ model: made.imageModel("gpt"), prompt: "a cat", maxRetries: 0 });
  return image.base64;
}

export async function abort(url, options) {
  const leaving = new AbortController();
  const result = streamText({ prompt, abortSignal: leaving.signal, onError: () => {}, ...common(url, options) });
  const seen = [];
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") {
      seen.push(part.text);
      leaving.abort();
    }
  }
  return seen;
}
