"use strict";
// Shows the OpenAPI document of the broker this page comes from, and sends requests. It loads nothing from elsewhere.
// Credentials are sent in a header that this page sets: a browser that kept them would add them to what other sites ask.

const METHODS = ["get", "post", "put", "delete"];
let authorization = "";
let api = null;

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function basic(user, secret) {
  let text = "";
  for (const byte of new TextEncoder().encode(`${user}:${secret}`)) text += String.fromCharCode(byte);
  return `Basic ${btoa(text)}`;
}

function ask(path, options = {}) {
  return fetch(path, { ...options, credentials: "omit", cache: "no-store", headers: { authorization } });
}

async function show(event) {
  event.preventDefault();
  const problem = byId("problem");
  problem.textContent = "";
  authorization = basic(byId("user").value, byId("secret").value);
  try {
    const answer = await ask("/api/v4/openapi.json");
    if (!answer.ok) {
      const body = await answer.json().catch(() => ({}));
      problem.textContent = `${answer.status} ${body.message || answer.statusText} ${body.reason || ""}`;
      return;
    }
    api = await answer.json();
    draw();
  } catch (error) {
    problem.textContent = `The broker cannot be reached: ${error.message}`;
  }
}

function draw() {
  document.querySelector(".search").hidden = false;
  const content = byId("content");
  content.replaceChildren(make("p", {}, `Version ${api.info.version}. ${api.info.description}`));
  for (const tag of api.tags) {
    const section = make("section", {}, make("h2", {}, tag.name));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS) {
        if (item[method] && item[method].tags[0] === tag.name) section.append(entry(path, method, item));
      }
    }
    content.append(section);
  }
  search();
}

function entry(path, method, item) {
  const operation = item[method];
  const box = make(
    "details",
    {},
    make(
      "summary",
      {},
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", { class: "path" }, path),
      make("span", { class: "about" }, operation.summary),
    ),
  );
  box.dataset.words = `${method} ${path} ${operation.summary} ${operation.tags[0]}`.toLowerCase();
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(details(path, method, item));
  });
  return box;
}

function details(path, method, item) {
  const operation = item[method];
  const body = make("div", { class: "operation" });
  if (operation.description) body.append(make("p", {}, operation.description));
  const inputs = [];
  if (operation.parameters) body.append(make("h3", {}, "Parameters"), parameters(operation.parameters, inputs));
  let text = null;
  if (operation.requestBody) {
    const media = operation.requestBody.content["application/json"];
    text = media ? make("textarea", { rows: 6, spellcheck: false }) : make("input", { type: "file", "aria-label": "Body" });
    if (media) text.value = JSON.stringify(media.example, null, 2);
    body.append(make("h3", {}, "Body"), media ? members(media.schema) : "", text);
  }
  const result = make("div", { "aria-live": "polite" });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => send(path, method, item, inputs, text, result));
  body.append(make("p", {}, button), result, make("h3", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) body.append(example(status, resolve(answer)));
  return body;
}

function parameters(list, inputs) {
  const table = make("table", {}, heading("name", "value", "meaning"));
  for (const parameter of list) {
    const input = make("input", { placeholder: parameter.schema.type || "any" });
    input.setAttribute("aria-label", parameter.name);
    if (parameter.example !== undefined) input.value = String(parameter.example);
    inputs.push([parameter, input]);
    table.append(
      make(
        "tr",
        {},
        make("td", {}, make("code", { class: parameter.required ? "needed" : "" }, parameter.name)),
        make("td", {}, input),
        make("td", {}, meaning(parameter.schema, parameter.description)),
      ),
    );
  }
  return table;
}

function members(schema) {
  const one = (schema.anyOf || [schema])[0];
  const object = one.type === "array" ? one.items : one;
  const table = make("table", {}, heading("member", "type", "meaning"));
  for (const [name, member] of Object.entries(object.properties || {})) {
    const needed = (object.required || []).includes(name);
    table.append(
      make(
        "tr",
        {},
        make("td", {}, make("code", { class: needed ? "needed" : "" }, name)),
        make("td", {}, String(member.type || "any")),
        make("td", {}, meaning(member, "")),
      ),
    );
  }
  return table;
}

function heading(...names) {
  return make("tr", {}, ...names.map((name) => make("th", {}, name)));
}

function meaning(schema, description) {
  const parts = [description || schema.description || ""];
  if (schema.enum) parts.push(`one of ${schema.enum.join(", ")}`);
  if (schema.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.filter((part) => part).join("; ");
}

function example(status, answer) {
  const box = make("div", {}, make("p", {}, make("code", {}, status), ` ${answer.description}`));
  if (status !== "200") return box;
  for (const [media, content] of Object.entries(answer.content || {})) {
    const given = content.examples ? Object.values(content.examples).map((one) => one.value) : [content.example];
    for (const value of given.filter((one) => one !== undefined)) {
      box.append(make("pre", {}, JSON.stringify(value, null, 2)));
    }
    if (media !== "application/json") box.append(make("p", {}, make("code", {}, media)));
  }
  return box;
}

function resolve(node) {
  if (!node.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((found, key) => found[key], api);
}

async function send(path, method, item, inputs, text, result) {
  const query = new URLSearchParams();
  let url = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encoded(parameter.name, input.value));
    else if (input.value !== "") query.append(parameter.name, input.value);
  }
  const base = item.servers ? item.servers[0].url : api.servers[0].url;
  url = base.replace(/\/$/, "") + url + (String(query) ? `?${query}` : "");
  result.replaceChildren(make("p", {}, "…"));
  try {
    const answer = await ask(url, { method: method.toUpperCase(), body: text && text.value ? (text.files ? text.files[0] : text.value) : undefined });
    const raw = await answer.text();
    result.replaceChildren(make("p", {}, `${method.toUpperCase()} ${url} → ${answer.status}`), make("pre", {}, pretty(raw)));
  } catch (error) {
    result.replaceChildren(make("p", {}, `Failed: ${error.message}`));
  }
}

// Names of nodes, plugins, modules and listeners are compared as they are sent.
function encoded(name, value) {
  const plain = ["node", "plugin", "module", "identifier"].includes(name);
  return plain ? encodeURI(value).replace(/[?#]/g, encodeURIComponent) : encodeURIComponent(value);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function search() {
  const wanted = byId("search").value.toLowerCase().split(/\s+/).filter((word) => word);
  for (const section of document.querySelectorAll("#content section")) {
    let any = false;
    for (const box of section.querySelectorAll("details")) {
      box.hidden = !wanted.every((word) => box.dataset.words.includes(word));
      any = any || !box.hidden;
    }
    section.hidden = !any;
  }
}

byId("login").addEventListener("submit", show);
byId("search").addEventListener("input", search);
