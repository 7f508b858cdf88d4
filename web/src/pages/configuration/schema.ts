// What the JSON Schema of the configuration says about a place: keys, words, defaults and descriptions. Pure.

import { type Place, namesBelow } from "./place";

/** A part of the schema. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
}

/** Something that can be typed. */
export interface Suggestion {
  label: string;
  /** What is inserted; the label if it is absent. */
  insert?: string;
  kind: "key" | "value";
  /** A word or two beside it. */
  detail?: string;
  description?: string;
}

/** What a hover shows. */
export interface Description {
  key: string;
  text: string;
  fallback?: string;
  words: string[];
}

/** The parts of the schema that describe the value at `path`. */
export function at(root: Schema, path: readonly string[]): Schema[] {
  let found = choices(root);
  for (const key of path) {
    found = found.flatMap((schema) => {
      const own = schema.properties?.[key];
      if (own) return choices(own);
      return typeof schema.additionalProperties === "object" ? choices(schema.additionalProperties) : [];
    });
  }
  return found;
}

/** What can be typed at a place of `text`. */
export function suggestions(root: Schema, place: Place, text: string): Suggestion[] {
  const around = fitting(at(root, place.path), place.siblings);
  if (place.kind === "key") return keys(around, place.siblings);
  if (place.key === undefined) return [];
  const own = around.flatMap((schema) => {
    const found = schema.properties?.[place.key!];
    return found ? choices(found) : [];
  });
  return [...names(place, text), ...values(own)];
}

/** What the schema says about the key at the end of `path`. */
export function describe(root: Schema, path: readonly string[]): Description | undefined {
  const key = path.at(-1);
  if (key === undefined) return undefined;
  const known = at(root, path.slice(0, -1)).flatMap((schema) => schema.properties?.[key] ?? []);
  const first = known.find((schema) => schema.description !== undefined);
  if (!first?.description) return undefined;
  const fallback = known.map((schema) => schema.default).find((value) => value !== undefined);
  return {
    key,
    text: first.description,
    fallback: fallback === undefined ? undefined : String(fallback),
    words: words(known.flatMap(choices)),
  };
}

/** A schema and what it may be instead. */
function choices(schema: Schema): Schema[] {
  return [schema, ...(schema.anyOf ?? []).flatMap(choices)];
}

/** Of several mappings, those whose own key is there: a source with `rtsp` is no folder. */
function fitting(schemas: Schema[], siblings: readonly string[]): Schema[] {
  const kinds = schemas.filter((schema) => schema.title !== undefined && schema.properties?.[schema.title]);
  const chosen = kinds.filter((schema) => siblings.includes(schema.title!));
  return chosen.length === 0 ? schemas : schemas.filter((schema) => !kinds.includes(schema) || chosen.includes(schema));
}

function keys(schemas: Schema[], siblings: readonly string[]): Suggestion[] {
  const found = new Map<string, Suggestion>();
  for (const schema of schemas) {
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      if (siblings.includes(key) || found.has(key)) continue;
      const isRequired = schema.required?.includes(key) ?? false;
      const fallback = value.default === undefined ? undefined : String(value.default);
      const detail = isRequired ? "required" : fallback;
      found.set(key, { label: key, insert: `${key}: `, kind: "key", detail, description: value.description });
    }
  }
  return [...found.values()];
}

function values(schemas: Schema[]): Suggestion[] {
  const defaults = schemas.map((schema) => schema.default).filter((value) => value !== undefined).map(String);
  const all = [...new Set([...words(schemas), ...defaults])];
  return all.map((label) => ({ label, kind: "value", detail: defaults.includes(label) ? "default" : undefined }));
}

function words(schemas: Schema[]): string[] {
  const typed = schemas.flatMap((schema) => [...(schema.enum ?? []), ...(schema.const === undefined ? [] : [schema.const])]);
  return [...new Set(typed.map(String))];
}

/** The names of label sets, for the sources that watch them. */
function names(place: Place, text: string): Suggestion[] {
  if (place.key !== "watch") return [];
  return namesBelow(text, "label_sets").map((label) => ({ label, kind: "value", detail: "label set" }));
}
