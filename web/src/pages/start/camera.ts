// What the first steps ask the service, and what they save. Without a page.

import { call } from "../../api";

/** A camera as it is typed. */
export interface Camera {
  address: string;
  username: string;
  password: string;
}

/** The answer of `try_source`. */
export interface Tried {
  kind: "rtsp" | "http";
  picture?: { width: number; height: number; jpeg: string };
  problem?: { cause: string; remedy: string };
}

/** A word of the answer of `ask_picture`. */
export interface TextScore {
  text: string;
  score: number;
}

/** The answer of `config_edit`, as far as it is shown. */
export interface Edited {
  path: string;
  saved: boolean;
  masked: boolean;
  lines: { first: number; before: string; after: string };
  problems: { message: string; line?: number; remedy?: string }[];
  why_not?: string;
  remedy?: string;
}

/** The most texts that are scored together. */
export const MOST_TEXTS = 16;
/** What is there if nothing of interest is, unless people write something better. */
export const BACKGROUND = "an empty scene";
/** The score that raises a label, unless people choose another one. */
export const THRESHOLD = 0.6;

/** Opens the camera once. */
export function look(camera: Camera, signal?: AbortSignal): Promise<Tried> {
  return call("POST", "try_source", filled({ ...camera, address: camera.address.trim() }), signal);
}

/** The score of each text on a picture. */
export async function scores(jpeg: string, texts: readonly string[], signal?: AbortSignal): Promise<TextScore[]> {
  const answer = await call<{ scores: TextScore[] }>("POST", "ask_picture", { picture: jpeg, text: texts }, signal);
  return answer.scores;
}

/** The words of lines or of a list with commas: trimmed, and each once. */
export function words(text: string): string[] {
  const all = text.split(/[\n,]/).map((word) => word.trim()).filter((word) => word !== "");
  return [...new Set(all)];
}

/** A name that no source has: `camera`, `camera-2`. */
export function freeName(taken: readonly string[], wanted = "camera"): string {
  const isFree = (name: string) => !taken.some((known) => known.toLowerCase() === name.toLowerCase());
  if (isFree(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    if (isFree(`${wanted}-${number}`)) return `${wanted}-${number}`;
  }
}

/** The changes of the configuration: a label set and a source with the same name. */
export function changes(name: string, kind: Tried["kind"], camera: Camera, labels: readonly string[], background: readonly string[], threshold: number) {
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
export function save(list: ReturnType<typeof changes>): Promise<Edited> {
  return call("POST", "config_edit", { changes: list, save: true });
}

/** A JPEG in base64 as an address that the page may show. */
export function blobUrl(jpeg: string): string {
  const bytes = Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

/** `${` begins a reference in the configuration; here it is typed as it is. */
function literal(text: string): string {
  return text.replaceAll("${", () => "$${");
}

function filled(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
}
