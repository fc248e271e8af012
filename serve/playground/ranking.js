// Draws one model's ranking. Every text that comes from a product or from the server is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const BAR = 8;
const STEP = 10;
const HEIGHT = 34;

/**
 * Return the elements of one ranking.
 *   asked: {documents}           what was sent
 *   given: {model, results, tokens, milliseconds, no_good_match?, rank_confidence?, near_tie?}
 *   rival: the other model's `given`, whose order the moves are counted from, or null
 *   highest: the probability that is drawn as a full bar, one for all rankings that stand side by side
 */
export function drawRanking(asked, given, rival, highest) {
  const places = rival && new Map(rival.results.map((result, place) => [result.index, place]));
  const list = element("ol", "results");
  given.results.forEach((result, place) => {
    const row = drawResult(asked.documents[result.index], result, place, highest);
    if (places) row.querySelector(".place").append(drawMove(places.get(result.index), place, rival.model));
    list.append(row);
  });
  const heading = element("h2", "", given.model);
  const tokens = given.tokens.toLocaleString("en");
  const facts = element("p", "note", `${Math.round(given.milliseconds)} ms · ${tokens} tokens`);
  const head = element("div", "head");
  head.append(heading, facts);
  return [head, ...drawVerdict(given), list];
}

/** Return what is said of a ranking as a whole, a line each. */
function drawVerdict(given) {
  const lines = [];
  if (given.no_good_match) lines.push(element("p", "whole", "No good match: no product reaches close."));
  if (given.rank_confidence !== undefined && given.results.length > 1) {
    const sure = `First is best: ${percent(given.rank_confidence)}${given.near_tie ? " · near tie" : ""}`;
    lines.push(element("p", "whole", sure));
  }
  return lines;
}

/** Return a model's name with the sentence that says why there is no ranking. */
export function drawRefusal(model, sentence) {
  const head = element("div", "head");
  head.append(element("h2", "", model));
  const trouble = element("p", "trouble", sentence);
  trouble.setAttribute("role", "alert");
  return [head, trouble];
}

/** Return an element with a class and a text. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function drawResult(product, result, place, highest) {
  const row = element("li", "result");
  row.dataset.index = result.index;
  const position = element("div", "place");
  position.append(element("span", "position", String(place + 1)));
  const what = element("div", "what");
  what.append(element("h3", "", titleOf(product)));
  const facts = element("p", "facts");
  facts.append(...[offerOf(product), detailsOf(product)].filter(Boolean).map((part) => element("span", "", part)));
  facts.title = detailsOf(product);
  what.append(facts);
  const verdict = element("div", "verdict");
  const score = element("p", "score", result.relevance_score.toFixed(3));
  score.append(element("span", "std", ` ± ${result.std.toFixed(3)}`));
  verdict.append(score);
  if (result.tier) verdict.append(element("p", `tier ${result.tier}`, result.tier));
  row.append(position, what, drawDistribution(result, highest), verdict);
  return row;
}

function drawDistribution(result, highest) {
  const bins = result.distribution;
  const width = STEP * (bins.length - 1) + BAR;
  const drawing = svg("svg", { class: "bars", viewBox: `0 0 ${width} ${HEIGHT + 6}`, role: "img" });
  const likeliest = bins.indexOf(Math.max(...bins));
  drawing.setAttribute("aria-label", `most likely ${worth(likeliest, bins)}, with ${percent(bins[likeliest])}`);
  bins.forEach((probability, bin) => {
    const height = Math.max(1, (HEIGHT * probability) / highest);
    const bar = svg("rect", { x: STEP * bin, y: HEIGHT - height, width: BAR, height, rx: 1 });
    const name = svg("title", {});
    name.textContent = `${worth(bin, bins)}: ${percent(probability)}`;
    bar.append(name);
    drawing.append(bar);
  });
  const middle = result.relevance_score * STEP * (bins.length - 1) + BAR / 2;
  drawing.append(svg("path", { class: "mean", d: `M${middle} ${HEIGHT + 1.5}l3.5 4.5h-7z` }));
  return drawing;
}

function drawMove(before, place, rival) {
  if (before === undefined) return moved("unranked", "new", `not in the ranking of ${rival}`);
  const up = before - place;
  if (up === 0) return moved("same", "=", `at the same place as by ${rival}`);
  const sentence = `${Math.abs(up)} ${up > 0 ? "higher" : "lower"} than by ${rival}`;
  return moved(up > 0 ? "up" : "down", `${up > 0 ? "▲" : "▼"}${Math.abs(up)}`, sentence);
}

function moved(kind, sign, sentence) {
  const mark = element("span", `move ${kind}`, sign);
  mark.title = sentence;
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", sentence);
  return mark;
}

function titleOf(product) {
  return typeof product === "string" ? product : String(product.title ?? product.text ?? JSON.stringify(product));
}

function offerOf(product) {
  const price = typeof product.price === "number" ? product.price.toFixed(2) : product.price;
  return [product.brand, price].filter((part) => part !== undefined && part !== null && part !== "").join(" · ");
}

function detailsOf(product) {
  return Object.entries(product.attributes ?? {}).map(([name, value]) => `${name} ${value}`).join(" · ");
}

function worth(bin, bins) {
  return (bin / (bins.length - 1)).toFixed(1);
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)}%`;
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
