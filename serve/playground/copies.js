// The request of the form as something to run elsewhere: a curl command, or Python with a client that people have.
// The key is left to the environment: commands and scripts go into histories and chats. Nothing here knows the page.

/** Return the request for a shell; `key` says whether the server wants one. */
export function curl(asked, root, key) {
  const header = key ? ` \\\n  -H "Authorization: Bearer $API_KEY"` : "";
  const data = JSON.stringify(asked).replaceAll("'", "'\\''");
  return `curl -s ${root}/v1/rerank -H 'Content-Type: application/json'${header} \\\n  -d '${data}'`;
}

/** Return it as a script for OpenAI's SDK: a score over two levels is the relevance. */
export function openai(asked, root, key) {
  const input = asked.instruction
    ? [{ role: "developer", content: asked.instruction }, { role: "user", content: asked.query }]
    : asked.query;
  return `import os

from openai import OpenAI

client = OpenAI(base_url=${python(`${root}/v1`)}, api_key=${secret(key)})
products = ${lines(asked.documents)}
levels = [{"label": "irrelevant"}, {"label": "relevant"}]
decision = client.decisions.create(
    model=${python(asked.model)},
    input=${python(input)},
    questions=[
        {
            "type": "score",
            "instructions": product if isinstance(product, str) else [{"type": "input_json", "data": product}],
            "levels": levels,
        }
        for product in products
    ],
)
ranked = sorted(zip(products, decision.answers), key=lambda pair: -pair[1].score)
for product, answer in ranked${asked.top_n ? `[:${asked.top_n}]` : ""}:
    print(f"{answer.score:.3f}", product)
`;
}

/** Return it as a script for Cohere's SDK, whose first version takes products that are objects. */
export function cohere(asked, root, key) {
  const more = asked.instruction
    ? `    request_options={"additional_body_parameters": {"instruction": ${python(asked.instruction)}}},\n`
    : "";
  return `import os

import cohere

client = cohere.Client(base_url=${python(root)}, api_key=${secret(key)})
products = ${lines(asked.documents)}
answer = client.rerank(
    model=${python(asked.model)},
    query=${python(asked.query)},
    documents=products,
${asked.top_n ? `    top_n=${asked.top_n},\n` : ""}${more})
for result in answer.results:
    print(f"{result.relevance_score:.3f}", products[result.index])
`;
}

function secret(key) {
  return key ? 'os.environ["API_KEY"]' : 'os.environ.get("API_KEY", "none")';
}

/** Return a list as Python writes it, one entry a line. */
function lines(entries) {
  return `[\n${entries.map((entry) => `    ${python(entry)},\n`).join("")}]`;
}

/** Return a value of JSON as Python writes it: strings and numbers are alike in both. */
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${python(inner)}`).join(", ")}}`;
}
