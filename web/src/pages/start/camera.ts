// What the first steps ask the service, and what they save. Without a page.

import { type Answer, type Schema, get, post } from "../../api";
import { literal } from "../../literal";

/** A camera as it is typed. */
export interface Camera {
  address: string;
  username: string;
  password: string;
}

/** The picture of a camera, or what is wrong. */
export type Tried = Answer<"try_source">;
/** A text with its score. */
export type TextScore = Schema<"TextScore">;
/** What became of the changes. */
export type Edited = Answer<"config_edit">;

/** The most texts that are scored together. */
export const MOST_TEXTS = 16;
/** What is there if nothing of interest is, unless people write something better. */
export const BACKGROUND = "an empty scene";
/** The score that raises a label, unless people choose another one. */
export const THRESHOLD = 0.6;

/** Opens the camera once. */
export function look({ address, username, password }: Camera, signal?: AbortSignal): Promise<Tried> {
  return post("try_source", { address: address.trim(), ...filled({ username, password }) }, signal);
}

/** The score of each text on a picture. */
export async function scores(jpeg: string, texts: readonly string[], signal?: AbortSignal): Promise<TextScore[]> {
  const answer = await post("ask_picture", { picture: jpeg, text: [...texts] }, signal);
  return answer.scores;
}

/** The words of lines or of a list with commas: trimmed, and each once. */
export function words(text: string): string[] {
  const all = text.split(/[\n,]/).map((word) => word.trim()).filter((word) => word !== "");
  return [...new Set(all)];
}

/** The names that a new camera cannot have: its label set has the same name. */
export async function takenNames(signal: AbortSignal): Promise<string[]> {
  const { sources } = await get("sources", {}, signal);
  return sources.flatMap(({ source, labels }) => [source, ...labels.map((label) => label.label_set)]);
}

/** A name that is free: `camera`, `camera-2`. */
export function freeName(taken: readonly string[], wanted = "camera"): string {
  const isFree = (name: string) => !taken.some((known) => known.toLowerCase() === name.toLowerCase());
  if (isFree(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    if (isFree(`${wanted}-${number}`)) return `${wanted}-${number}`;
  }
}

/** The changes of the configuration: a label set and a source with the same name. */
export function changes(name: string, kind: Tried["kind"], camera: Camera, labels: readonly string[], background: readonly string[], threshold: number): Schema<"Change">[] {
  const { address, username, password } = camera;
  const source = filled({ [kind]: literal(address.trim()), username: literal(username), password: literal(password) });
  const settings = {
    ...(background.length > 0 ? { background: background.map(literal) } : {}),
    labels: Object.fromEntries(labels.map((label) => [label, threshold])),
  };
  return [
    { kind: "add_label_set", label_set: name, settings },
    { kind: "add_source", source: name, settings: { ...source, watch: [name] } },
  ];
}

/** Saves the changes, or says which lines to paste. */
export function save(list: Schema<"Change">[]): Promise<Edited> {
  return post("config_edit", { changes: list, save: true });
}

/** A JPEG in base64 as an address that the page may show. */
export function blobUrl(jpeg: string): string {
  const bytes = Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

function filled(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
}
