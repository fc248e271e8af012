// What the person pasted becomes the documents of a request: titles, one a line, or product objects as JSON Lines or
// an array. Whether a product may have such fields is for the server to say. Nothing here knows the page.

/** What cannot be read, in one sentence that names the line. */
export class NotProducts extends Error {}

/**
 * Return {documents, form}: strings or objects as they will be sent, and what they were read as.
 * Throws NotProducts.
 */
export function readProducts(text) {
  const trimmed = text.trim();
  // A title may begin with a bracket too ("[New] Desk lamp"): JSON goes on with a quote or another bracket.
  if (/^\[\s*["{\]]/.test(trimmed)) {
    return { documents: wholeArray(text), form: "JSON array" };
  }
  const lines = text.split("\n").map((line, i) => [line.trim(), i + 1]).filter(([line]) => line);
  if (/^\{\s*["}]/.test(trimmed)) {
    return { documents: lines.map(([line, number]) => oneObject(line, number)), form: "JSON Lines" };
  }
  return { documents: lines.map(([line]) => line), form: "titles" };
}

function wholeArray(text) {
  try {
    return JSON.parse(text);
  } catch {
    const line = text.slice(0, endOfJson(text)).split("\n").length;
    throw new NotProducts(`Line ${line}: the array is not valid JSON from here on.`);
  }
}

function oneObject(line, number) {
  try {
    return JSON.parse(line);
  } catch {
    throw new NotProducts(`Line ${number} is not valid JSON; each line holds one whole product.`);
  }
}

const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/.source;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/.source;
const TOKEN = new RegExp(`\\s*(?:([[{])|([\\]}])|([,:])|${STRING}|${NUMBER}|true|false|null)`, "y");

/**
 * Return the offset of the first token that cannot stand where it stands. JSON.parse knows it too, but the messages of
 * browsers name a place only for some mistakes.
 */
function endOfJson(text) {
  const open = []; // the brackets around, the innermost last
  let may = "value"; // what may come: a value, a key, or what follows one of them
  TOKEN.lastIndex = 0;
  for (;;) {
    const start = TOKEN.lastIndex;
    const token = TOKEN.exec(text);
    if (!token) return start + text.slice(start).search(/\S|$/);
    const [found, opening, closing, mark] = token;
    const here = start + found.search(/\S/);
    const inside = open.at(-1);
    if (closing) {
      const empty = may === (inside === "[" ? "value or end" : "key or end");
      if (inside !== (closing === "]" ? "[" : "{") || !(empty || may === "more")) return here;
      open.pop();
      may = "more";
    } else if (mark === ":") {
      if (may !== "colon") return here;
      may = "value";
    } else if (mark === ",") {
      if (may !== "more" || !inside) return here;
      may = inside === "[" ? "value" : "key";
    } else if (may.startsWith("key")) {
      if (!found.trimStart().startsWith('"')) return here;
      may = "colon";
    } else if (!may.startsWith("value")) {
      return here;
    } else if (opening) {
      open.push(opening);
      may = opening === "[" ? "value or end" : "key or end";
    } else {
      may = "more";
    }
  }
}
