// Draws /openapi.json. Everything that comes from the document is put in as
// text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const DEPTH = 6;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === false) continue;
    if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  // What is not there, as in `condition && element(…)`, is left out.
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) made.append(child);
  }
  return made;
}

// Text with `code` and empty lines between paragraphs, as doc comments have them.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) =>
    element("p", {}, paragraph.split(/(`[^`]+`)/).map((part) =>
      part.startsWith("`") && part.length > 1 ? element("code", {}, part.slice(1, -1)) : part)));
}

class Page {
  constructor(api) {
    this.api = api;
    this.entries = [];
  }

  resolve(value) {
    let found = value;
    for (let step = 0; found && found.$ref && step < 10; step += 1) {
      found = found.$ref.slice(2).split("/").reduce((at, key) => at && at[key.replace(/~1/g, "/").replace(/~0/g, "~")], this.api);
    }
    return found || {};
  }

  typeOf(schema) {
    if (!schema) return "anything";
    if (schema.$ref) return schema.$ref.split("/").pop();
    const found = this.resolve(schema);
    if (found.const !== undefined) return JSON.stringify(found.const);
    if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
    const union = found.oneOf || found.anyOf;
    if (union) return [...new Set(union.map((one) => this.typeOf(one)))].filter((type) => type !== "null").join(" | ");
    if (found.allOf) return found.allOf.map((one) => this.typeOf(one)).join(" & ");
    const types = [].concat(found.type || (found.properties ? "object" : "anything"));
    // Whether it may be left out is told by the word "required".
    return types.filter((type, _, all) => type !== "null" || all.length === 1).map((type) => type === "array" ? `list of ${this.typeOf(found.items)}` : found.format ? `${type} (${found.format})` : type).join(" | ");
  }

  // All properties of an object, those that it has from others included.
  properties(schema) {
    const found = this.resolve(schema);
    const merged = { properties: { ...found.properties }, required: [...(found.required || [])] };
    for (const part of found.allOf || []) {
      const inner = this.properties(part);
      Object.assign(merged.properties, inner.properties);
      merged.required.push(...inner.required);
    }
    return merged;
  }

  bounds(schema) {
    const found = this.resolve(schema);
    const words = [];
    if (found.minimum !== undefined) words.push(`≥ ${found.minimum}`);
    if (found.maximum !== undefined) words.push(`≤ ${found.maximum}`);
    if (found.maxLength !== undefined) words.push(`up to ${found.maxLength} characters`);
    if (found.maxItems !== undefined) words.push(`up to ${found.maxItems} items`);
    if (found.pattern) words.push(found.pattern);
    if (found.default !== undefined) words.push(`default ${JSON.stringify(found.default)}`);
    return words.join(", ");
  }

  // What may be looked into further: the object itself, or the items of a list.
  inner(schema) {
    const found = this.resolve(schema);
    if (found.items) return this.inner(found.items);
    const union = found.oneOf || found.anyOf;
    if (union) {
      const parts = union.filter((one) => this.resolve(one).type !== "null");
      return parts.length === 1 ? this.inner(parts[0]) : undefined;
    }
    return Object.keys(this.properties(schema).properties).length ? schema : undefined;
  }

  fields(schema, depth) {
    const inner = this.inner(schema);
    if (!inner) return element("p", { class: "type" }, this.typeOf(schema));
    const { properties, required } = this.properties(inner);
    return element("dl", {}, Object.entries(properties).map(([name, property]) =>
      this.field(name, property, required.includes(name), depth)));
  }

  field(name, schema, isRequired, depth) {
    const nested = depth < DEPTH ? this.inner(schema) : undefined;
    const box = nested && element("details", { class: "nested" }, element("summary", {}, "what is in it"));
    if (box) {
      // Filled when it is opened: schemas may contain themselves.
      box.addEventListener("toggle", () => box.childElementCount === 1 && box.append(this.fields(nested, depth + 1)));
    }
    return element("div", {},
      element("dt", {}, element("code", {}, name), element("span", { class: "type" }, this.typeOf(schema)),
        isRequired && element("span", { class: "required" }, "required")),
      element("dd", {}, prose(schema.description || this.resolve(schema).description),
        element("span", { class: "type" }, this.bounds(schema)), box));
  }

  example(schema, depth = 0) {
    const found = this.resolve(schema);
    if (found.example !== undefined) return found.example;
    if (found.examples && found.examples.length) return found.examples[0];
    if (found.default !== undefined) return found.default;
    if (found.const !== undefined) return found.const;
    if (found.enum) return found.enum[0];
    const union = found.oneOf || found.anyOf;
    if (union) return this.example(union.find((one) => this.resolve(one).type !== "null") || union[0], depth);
    const type = [].concat(found.type || []).find((one) => one !== "null");
    if (type === "array") return depth < DEPTH ? [this.example(found.items, depth + 1)] : [];
    if (type === "string") return found.format === "date-time" ? "2026-12-01T09:30:00Z" : "text";
    if (type === "integer" || type === "number") return found.minimum || 1;
    if (type === "boolean") return true;
    const { properties, required } = this.properties(schema);
    const shown = Object.entries(properties).filter(([name]) => depth === 0 || required.includes(name));
    return depth < DEPTH ? Object.fromEntries(shown.map(([name, one]) => [name, this.example(one, depth + 1)])) : {};
  }

  curl(method, path, operation, parameters) {
    const filled = path.replace(/\{([^}]+)\}/g, (_, name) => name.toUpperCase().replace(/[^A-Z0-9]/g, "_"));
    const query = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=${one.name.toUpperCase()}`);
    const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${location.origin}${filled}${query.length ? `?${query.join("&")}` : ""}'`];
    lines.push(`  -H "Authorization: Bearer $API_KEY"`);
    const [type, media] = Object.entries(this.resolve(operation.requestBody).content || {})[0] || [];
    if (type && type.includes("json")) {
      const body = JSON.stringify(media.example !== undefined ? media.example : this.example(media.schema), null, 2);
      lines.push(`  -H 'Content-Type: ${type}'`, `  -d '${body.replace(/'/g, "'\\''")}'`);
    } else if (type) {
      lines.push(`  -H 'Content-Type: ${type}'`, "  --data-binary @FILE");
    }
    return lines.join(" \\\n");
  }

  copyable(text) {
    const copy = () => navigator.clipboard && navigator.clipboard.writeText(text);
    return element("div", { class: "example" }, element("pre", {}, text), element("button", { type: "button", onclick: copy }, "copy"));
  }

  content(title, content) {
    return Object.entries(content || {}).map(([type, media]) => [
      element("h4", {}, `${title}: ${type}`), media.schema && this.fields(media.schema, 0)]);
  }

  operation(path, method, operation, shared) {
    const id = `${method}${path}`;
    const parameters = [...shared, ...(operation.parameters || [])].map((one) => this.resolve(one));
    const scopes = [...new Set((operation.security || []).flatMap((one) => Object.values(one).flat()))];
    const body = element("div", { class: "body", hidden: true });
    const fill = () => {
      if (body.childElementCount) return;
      const requestBody = this.resolve(operation.requestBody);
      body.append(element("div", {},
        prose(operation.description),
        scopes.length ? element("p", {}, "Scope: ", scopes.map((scope) => element("code", { class: "scope" }, scope))) : "",
        ["path", "query", "header"].map((place) => {
          const here = parameters.filter((one) => one.in === place);
          return here.length ? [element("h4", {}, `${place} parameters`),
            element("dl", {}, here.map((one) => this.field(one.name, { ...one.schema, description: one.description }, one.required, 0)))] : [];
        }),
        this.content("body", requestBody.content)),
      element("div", {},
        element("h4", {}, "example"), this.copyable(this.curl(method, path, operation, parameters)),
        Object.entries(operation.responses || {}).map(([status, response]) => {
          const found = this.resolve(response);
          const [type, media] = Object.entries(found.content || {})[0] || [];
          const box = element("details", { class: "nested" }, element("summary", {}, `${status} ${found.description || ""}`));
          box.addEventListener("toggle", () => {
            if (box.childElementCount > 1) return;
            box.append(element("p", { class: "type" }, type || "no body"));
            if (media && media.schema) {
              box.append(this.fields(media.schema, 0), this.copyable(JSON.stringify(this.example(media.schema), null, 2)));
            }
          });
          return box;
        })));
    };
    const open = (isOpen) => { fill(); body.hidden = !isOpen; };
    const head = element("div", { class: "head", tabindex: "0", role: "button", onclick: () => open(body.hidden) },
      element("span", { class: `method ${METHODS.slice(0, 5).includes(method) ? method : "other"}` }, method),
      element("span", { class: "path" }, path), element("span", { class: "summary" }, operation.summary));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(body.hidden); }
    });
    const link = element("a", { href: `#${encodeURIComponent(id)}`, onclick: () => open(true) },
      element("span", { class: `method ${METHODS.slice(0, 5).includes(method) ? method : "other"}` }, method), operation.summary || path);
    const article = element("article", { id: encodeURIComponent(id) }, head, body);
    this.entries.push({ text: `${method} ${path} ${operation.summary || ""} ${operation.description || ""}`.toLowerCase(), article, link, open });
    return { article, link };
  }

  draw() {
    const { info, paths = {}, tags = [] } = this.api;
    document.title = info.title;
    document.getElementById("title").textContent = info.title;
    const away = this.api["x-unavailable"] || [];
    document.getElementById("about").append(
      element("h1", {}, info.title), element("p", { class: "muted" }, `Version ${info.version} · `, element("a", { href: "/openapi.json" }, "openapi.json")),
      ...prose(info.description),
      away.length ? element("p", { class: "notice" }, `Not to be reached at present, and so not shown: ${away.join(", ")}.`) : "");
    const groups = new Map(tags.map((tag) => [tag.name, []]));
    for (const [path, item] of Object.entries(paths)) {
      for (const method of METHODS.filter((one) => item[one])) {
        const tag = (item[method].tags || ["other"])[0];
        if (!groups.has(tag)) groups.set(tag, []);
        groups.get(tag).push(this.operation(path, method, item[method], item.parameters || []));
      }
    }
    for (const [tag, operations] of groups) {
      if (!operations.length) continue;
      document.getElementById("operations").append(element("h2", {}, tag), ...operations.map((one) => one.article));
      document.getElementById("contents").append(element("h2", {}, tag), ...operations.map((one) => one.link));
    }
    document.getElementById("search").addEventListener("input", (event) => this.search(event.target.value));
    const wanted = this.entries.find(({ article }) => `#${article.id}` === location.hash);
    if (wanted) { wanted.open(true); wanted.article.scrollIntoView(); }
  }

  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { text: own, article, link } of this.entries) {
      const isWanted = words.every((word) => own.includes(word));
      article.hidden = !isWanted;
      link.hidden = !isWanted;
    }
  }
}

fetch("/openapi.json")
  .then((response) => response.ok ? response.json() : Promise.reject(new Error(`the answer is ${response.status}`)))
  .then((api) => new Page(api).draw())
  .catch((error) => document.getElementById("about").append(
    element("p", { class: "notice" }, `The description of the API cannot be read: ${error.message}.`)));
