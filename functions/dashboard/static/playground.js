"use strict";
// The playground: sends the form's request, and shows the answer while it is made.

const form = document.getElementById("playground");
const field = (id) => document.getElementById(id);
const csrf = document.querySelector('meta[name="csrf-token"]').content;

let messages = []; // as the API has them, without the system message
let running = null; // what stops the request that is under way

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

class FieldError extends Error {}

function parsed(id, what) {
  try {
    field(id).removeAttribute("aria-invalid");
    return JSON.parse(field(id).value);
  } catch (error) {
    field(id).setAttribute("aria-invalid", "true");
    field(id).closest("details").open = true;
    field(id).focus();
    throw new FieldError(`${what} is no valid JSON: ${error.message}`);
  }
}

function requestBody() {
  const body = { model: field("model").value, stream: true, stream_options: { include_usage: true } };
  const system = field("system").value;
  body.messages = [...(system.trim() ? [{ role: "system", content: system }] : []), ...messages];
  for (const id of ["temperature", "top_p", "max_completion_tokens", "seed"]) {
    if (field(id).value !== "") body[id] = Number(field(id).value);
  }
  const stop = field("stop_texts").value.split("\n").filter((line) => line !== "");
  if (stop.length) body.stop = stop;
  if (field("logprobs").checked) {
    body.logprobs = true;
    body.top_logprobs = Number(field("top_logprobs").value);
  }
  if (field("use_schema").checked) {
    const schema = parsed("schema", "The schema");
    body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  }
  if (field("use_tools").checked) body.tools = parsed("tools", "The list of tools");
  if (field("store").checked) {
    body.store = true;
    body.metadata = { source: "playground" };
  }
  return body;
}

function showMessage(role, text) {
  const item = element("li", `said ${role}`);
  item.append(element("p", "role", { user: "You", assistant: "Assistant", tool: "Tool" }[role]));
  const shown = element("p", "text", text);
  shown.dir = "auto";
  item.append(shown);
  field("messages").append(item);
  field("welcome").hidden = true;
  field("clear").disabled = false;
  return { item, shown };
}

function tokenElement(entry) {
  const chance = Math.exp(entry.logprob);
  const level = [0.2, 0.5, 0.8, 0.95].findIndex((bound) => chance < bound);
  const token = element("span", `token p${level < 0 ? 4 : level}`, entry.token);
  const percent = (logprob) => `${(100 * Math.exp(logprob)).toFixed(1)} %`;
  const others = entry.top_logprobs.map((each) => `${JSON.stringify(each.token)} ${percent(each.logprob)}`);
  token.title = [percent(entry.logprob), ...others].join("\n");
  return token;
}

// What has come of an answer, and where it is shown.
class Answer {
  constructor() {
    Object.assign(this, showMessage("assistant", ""));
    this.content = "";
    this.calls = [];
    this.chunks = 0;
    this.started = performance.now();
    this.first = null;
    this.usage = null;
    this.finish = null;
    this.id = null;
  }

  take(event) {
    if (event.error) throw new Error(event.error.message);
    this.id ??= event.id;
    if (event.usage) this.usage = event.usage;
    const choice = event.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) this.finish = choice.finish_reason;
    const { content, reasoning_content: reasoning, tool_calls: calls } = choice.delta;
    if (content || reasoning || calls) {
      this.first ??= performance.now();
      this.chunks += 1;
    }
    if (reasoning) this.addReasoning(reasoning);
    if (content) this.addContent(content, choice.logprobs?.content);
    for (const call of calls ?? []) this.addCall(call);
  }

  addReasoning(text) {
    if (!this.reasoning) {
      this.reasoning = element("p", "reasoning");
      this.shown.before(this.reasoning);
    }
    this.reasoning.append(text);
  }

  addContent(text, tokens) {
    this.content += text;
    this.shown.append(...(tokens?.length ? tokens.map(tokenElement) : [text]));
  }

  addCall(delta) {
    const call = (this.calls[delta.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    if (delta.id) call.id = delta.id;
    call.function.name += delta.function?.name ?? "";
    call.function.arguments += delta.function?.arguments ?? "";
  }

  figures() {
    const tokens = this.usage?.completion_tokens ?? this.chunks;
    const seconds = (performance.now() - (this.first ?? this.started)) / 1000;
    const parts = [`${tokens} tokens`];
    // Tool calls come as a whole, which tells no rate.
    if (tokens > 1 && seconds > 0 && this.content) parts.push(`${Math.round(tokens / seconds)} tokens per second`);
    if (this.first) parts.push(`first after ${Math.round(this.first - this.started)} ms`);
    return parts.join(" · ");
  }

  message() {
    const calls = this.calls.filter(Boolean);
    return {
      role: "assistant",
      content: this.content || (calls.length ? null : ""),
      ...(calls.length ? { tool_calls: calls } : {}),
    };
  }

  // After its end: figures, calls to answer, and where it is kept.
  end(isStopped, isKept) {
    const parts = [this.figures()];
    if (isStopped) parts.push("stopped");
    else if (this.finish === "length") parts.push("cut off by the limit of tokens");
    const figures = element("p", "figures", parts.join(" · "));
    if (isKept && this.id) {
      const link = element("a", "", "kept");
      link.href = `${form.dataset.completions}/${encodeURIComponent(this.id)}`;
      figures.append(" · ", link);
    }
    if (!this.content) this.shown.remove();
    if (!isStopped) this.calls.filter(Boolean).forEach((call, index) => this.item.append(callElement(call, index)));
    this.item.append(figures);
  }
}

function callElement(call, index) {
  const box = element("div", "call");
  box.append(element("p", "", `Calls ${call.function.name}`), element("pre", "", call.function.arguments));
  const id = `result-${call.id || index}`;
  const label = element("label", "", `Result of ${call.function.name}`);
  label.htmlFor = id;
  const result = element("textarea", "mono result");
  result.id = id;
  result.rows = 2;
  result.dataset.call = call.id;
  result.addEventListener("keydown", sendByKey);
  box.append(label, result);
  return box;
}

// Tools' results that were typed in become messages; their boxes, all of which have one.
function takeResults() {
  const boxes = [...document.querySelectorAll("textarea.result:not([readonly])")];
  const missing = boxes.find((box) => !box.value.trim());
  if (missing) {
    missing.focus();
    throw new FieldError("Write the tool's result first.");
  }
  for (const box of boxes) {
    messages.push({ role: "tool", tool_call_id: box.dataset.call, content: box.value });
  }
  return boxes;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part; !(part = await reader.read()).done; ) {
    const found = (rest + part.value).split(/\r?\n\r?\n/);
    rest = found.pop();
    for (const event of found) {
      const data = event.startsWith("data: ") ? event.slice(6) : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function refusal(response) {
  const text = await response.text();
  try {
    return new Error(JSON.parse(text).error.message);
  } catch {
    return new Error(response.status === 401 || response.status === 403
      ? "The session has ended. Load this page again to sign in."
      : `The server answered ${response.status}.`);
  }
}

async function send(event) {
  event.preventDefault();
  if (running) return;
  field("problem").textContent = "";
  const before = messages.length;
  const text = field("message").value;
  try {
    const results = takeResults();
    if (text.trim()) messages.push({ role: "user", content: text });
    else if (!results.length) {
      field("message").focus();
      throw new FieldError("Write a message first.");
    }
    const body = requestBody();
    const said = text.trim() ? showMessage("user", text).item : null;
    field("message").value = "";
    for (const box of results) box.readOnly = true;
    if (await receive(body)) return;
    // Nothing was answered: what was written can be changed and sent again.
    said?.remove();
    field("message").value ||= text;
    for (const box of results) box.readOnly = false;
    messages.length = before;
    field("welcome").hidden = messages.length > 0;
    setRunning(false);
  } catch (error) {
    messages.length = before;
    if (!(error instanceof FieldError)) throw error;
    field("problem").textContent = error.message;
  }
}

// Sends a request and shows its answer; whether there was one.
async function receive(body) {
  running = new AbortController();
  setRunning(true);
  field("status").textContent = "Waiting for the first token";
  let answer = null;
  let isStopped = false;
  try {
    const response = await fetch(form.dataset.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": csrf },
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) throw await refusal(response);
    answer = new Answer();
    for await (const event of events(response)) {
      answer.take(event);
      if (answer.first) field("status").textContent = `Answering: ${answer.figures()}`;
    }
  } catch (error) {
    isStopped = error.name === "AbortError";
    if (!isStopped) field("problem").textContent = error.message;
  }
  if (answer?.finish || answer?.chunks) {
    messages.push(answer.message());
    answer.end(isStopped, body.store && !isStopped);
  } else answer?.item.remove();
  field("status").textContent = isStopped ? "Stopped" : answer?.finish ? "Done" : "";
  running = null;
  setRunning(false);
  (document.querySelector("textarea.result:not([readonly])") ?? field("message")).focus();
  return Boolean(answer?.finish || answer?.chunks);
}

function setRunning(isRunning) {
  field("send").disabled = isRunning;
  field("stop").hidden = !isRunning;
  field("clear").disabled = isRunning || messages.length === 0;
  field("messages").setAttribute("aria-busy", String(isRunning));
}

function clear() {
  messages = [];
  field("messages").replaceChildren();
  field("welcome").hidden = false;
  field("clear").disabled = true;
  field("status").textContent = field("problem").textContent = "";
  field("message").focus();
}

function sendByKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
}

form.addEventListener("submit", send);
field("stop").addEventListener("click", () => running?.abort());
field("clear").addEventListener("click", clear);
field("message").addEventListener("keydown", sendByKey);
