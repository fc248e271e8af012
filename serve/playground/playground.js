// The page's behaviour: fills the form, asks the server as any client would, and hands the answers to ranking.js.
// Products stay in the page: the answer names them by their index.

import { cohere, curl, openai } from "./copies.js";
import { NotProducts, readProducts } from "./products.js";
import { drawRanking, drawRefusal, element } from "./ranking.js";

const KEY = "gen_rerank.key";
const at = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (found) => [found.id, found]));

/** Why the server did not answer, in its own sentence. */
class Refused extends Error {}

start();

async function start() {
  at.key.value = sessionStorage.getItem(KEY) ?? "";
  at.key.addEventListener("change", () => {
    sessionStorage.setItem(KEY, at.key.value.trim());
    listModels();
  });
  at.products.addEventListener("input", countProducts);
  at.products.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at.ask.requestSubmit();
  });
  at.ask.addEventListener("submit", (event) => {
    event.preventDefault();
    rank();
  });
  for (const [button, made] of [[at.curl, curl], [at.openai, openai], [at.cohere, cohere]]) {
    button.addEventListener("click", () => copyAs(made));
  }
  await Promise.all([listModels(), listSamples()]);
}

async function listSamples() {
  const samples = await (await fetch("playground/samples.json")).json();
  for (const sample of samples) {
    const button = element("button", "chip", sample.name);
    button.type = "button";
    button.addEventListener("click", () => {
      show(sample);
      at.query.focus();
    });
    at.samples.append(button);
  }
  if (!at.query.value && !at.products.value) show(samples[0]);
}

function show(sample) {
  at.query.value = sample.query;
  at.products.value = sample.products.map((product) => JSON.stringify(product)).join("\n");
  countProducts();
}

async function listModels() {
  try {
    const { data } = await ask("v1/models");
    at.model.replaceChildren(...options(data));
    at.other.replaceChildren(at.other.firstElementChild, ...options(data));
    complain("");
  } catch (error) {
    complain(sentence(error));
  }
}

/** Return the options of a list of models: the bases, then the adapters under a heading of their own. */
function options(models) {
  const [bases, adapters] = [false, true].map((isAdapter) =>
    models.filter((model) => Boolean(model.parent) === isAdapter).map((model) => element("option", "", model.id)),
  );
  if (!adapters.length) return bases;
  const group = element("optgroup");
  group.label = "Adapters";
  group.append(...adapters);
  return [...bases, group];
}

function countProducts() {
  at.count.classList.remove("wrong");
  try {
    const { documents, form } = readProducts(at.products.value);
    at.count.textContent = `${documents.length} ${documents.length === 1 ? "product" : "products"}, read as ${form}`;
  } catch (error) {
    at.count.classList.add("wrong");
    at.count.textContent = sentence(error);
  }
}

/** Return the body of the request that the form describes. Throws NotProducts. */
function body(model) {
  const { documents } = readProducts(at.products.value);
  const asked = { model, query: at.query.value, documents, return_documents: false };
  Object.assign(asked, { return_distribution: true, return_rank_confidence: true });
  if (at.instruction.value.trim()) asked.instruction = at.instruction.value.trim();
  if (at.top.value) asked.top_n = Number(at.top.value);
  return asked;
}

async function rank() {
  complain("");
  let asked;
  try {
    asked = body(at.model.value);
  } catch (error) {
    complain(sentence(error));
    return;
  }
  busy(true);
  const answers = [];
  // One after the other, so that each time is the model's own.
  for (const model of at.other.value ? [at.model.value, at.other.value] : [at.model.value]) {
    answers.push(await given({ ...asked, model }));
  }
  drawAnswers(asked, answers);
  busy(false);
}

function drawAnswers(asked, answers) {
  const ranked = answers.filter((answer) => answer.results);
  const highest = Math.max(...ranked.flatMap((answer) => answer.results.flatMap((result) => result.distribution)));
  const articles = answers.map((answer, column) => {
    const article = element("article", "ranking");
    const rival = column && answers[0].results ? answers[0] : null;
    if (answer.results) article.append(...drawRanking(asked, answer, rival, highest));
    else article.append(...drawRefusal(answer.model, answer.refused));
    return article;
  });
  at.rankings.replaceChildren(...articles);
  at.status.textContent = ranked.length ? `“${asked.query}” · ${asked.documents.length} products` : "";
  // On a phone the rankings stand below the form.
  if (at.rankings.getBoundingClientRect().top > innerHeight / 2) at.rankings.scrollIntoView();
}

/** Return what the server gave for a request, or why it gave nothing; and the time that it took, seen from here. */
async function given(asked) {
  const begin = performance.now();
  try {
    const { usage, ...said } = await ask("v1/rerank", asked);
    return { ...said, model: asked.model, tokens: usage.total_tokens, milliseconds: performance.now() - begin };
  } catch (error) {
    return { model: asked.model, refused: sentence(error) };
  }
}

/** Return the server's answer: GET without a body, POST with one. Throws Refused. */
async function ask(path, sent) {
  const headers = sent ? { "Content-Type": "application/json" } : {};
  if (at.key.value.trim()) headers.Authorization = `Bearer ${at.key.value.trim()}`;
  let response, text;
  try {
    response = await fetch(path, { method: sent ? "POST" : "GET", headers, body: sent && JSON.stringify(sent) });
    text = await response.text();
  } catch {
    throw new Refused("The server cannot be reached.");
  }
  if (response.ok) return JSON.parse(text);
  throw new Refused(reason(text) || `The server answered with status ${response.status}.`);
}

/** Return the sentence of an error's body, in whichever of the server's shapes it came; none when it has none. */
function reason(text) {
  try {
    const { detail, message, error } = JSON.parse(text);
    return [detail, message, error?.message, error].find((said) => typeof said === "string");
  } catch {
    return undefined;
  }
}

function sentence(error) {
  if (error instanceof Refused || error instanceof NotProducts) return error.message;
  throw error;
}

function complain(text) {
  at.trouble.textContent = text;
  at.trouble.hidden = !text;
}

function busy(now) {
  at.rank.disabled = now;
  at.rank.textContent = now ? "Ranking…" : "Rank";
  at.rankings.setAttribute("aria-busy", String(now));
}

/** Show and copy the request as one of `copies.js` writes it. */
async function copyAs(made) {
  const root = new URL(".", location.href).href.replace(/\/$/, "");
  try {
    at.shell.value = made(body(at.model.value), root, Boolean(at.key.value.trim()));
  } catch (error) {
    complain(sentence(error));
    return;
  }
  at.command.hidden = false;
  at.shell.select();
  try {
    await navigator.clipboard.writeText(at.shell.value);
    at.status.textContent = "Copied.";
  } catch {
    // Browsers give pages of plain HTTP hosts no clipboard; the text is shown and selected.
    at.status.textContent = "Press Ctrl+C to copy.";
  }
}
