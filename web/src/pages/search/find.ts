// Searches by words, by a picture, and by a stored frame: the request from the address, and the answer.

import { type Answer, ApiError, type Request, type Schema, fetchPicture, get, upload } from "../../api";
import { literal } from "../../literal";
import type { Query } from "../../router";

/** What was found, and what was searched. */
export type Found = Answer<"search">;
/** An event that was found. */
export type Match = Found["matches"][number];

/** The largest picture that the service accepts, in bytes. */
export const LARGEST = 16 * 1024 * 1024;
/** The results of one request, and the most of them. */
export const TOP = 24;
export const MOST = 240;

/** The ranges of time that can be chosen, with their days. */
export const RANGES = [
  { value: "", text: "all", days: undefined },
  { value: "1d", text: "1 d", days: 1 },
  { value: "7d", text: "7 d", days: 7 },
  { value: "30d", text: "30 d", days: 30 },
] as const;

/** Whether the address says what to search for; a picture of this device is not in it. */
export function isAsked(query: Query, picture: Blob | undefined): boolean {
  return Boolean(picture || query["q"]?.trim() || (query["like"] && query["at"]));
}

/** Searches. A stored frame without an embedding is found by its picture. */
export async function find(query: Query, picture: Blob | undefined, top: number, signal: AbortSignal): Promise<Found> {
  const days = RANGES.find((range) => range.value === query["since"])?.days;
  const filters: Request<"search"> = {
    text: query["q"]?.trim(),
    source: query["source"],
    since: days && new Date(Date.now() - days * 86_400_000).toISOString(),
    top,
  };
  const findPicture = (file: Blob) => upload("search_picture", filters, file, signal);
  if (picture) return findPicture(picture);
  if (!query["like"]) return get("search", filters, signal);
  const like = { like_source: query["like"], like_at: query["at"], like_region: query["region"] };
  try {
    return await get("search", { ...filters, ...like }, signal);
  } catch (error) {
    const isMissing = error instanceof ApiError && error.status === 404;
    if (!isMissing || !query["picture"]) throw error;
    const stored = await fetchPicture(query["picture"], signal).catch(() => undefined);
    if (!stored) throw error;
    return findPicture(stored.content);
  }
}

/** What is wrong with a file before it is sent; `undefined` if nothing is. */
export function refused(file: File): string | undefined {
  if (file.size > LARGEST) return `${file.name} has more than 16 MB. Choose a smaller picture.`;
  if (file.size === 0) return `${file.name} is empty.`;
  return undefined;
}

/** The threshold of a new label. Tune finds a better one when there are scores. */
const THRESHOLD = 0.6;

/** A label that is being made. */
export interface Draft {
  set: string;
  label: string;
  words: string;
  /** What is seen otherwise, for a label set that does not exist yet. */
  background?: string;
  /** The source that is to watch a new label set. */
  source?: string;
}

/** The draft as changes for `config_edit`. */
export function changesOf({ set, label, words, background, source }: Draft): Schema<"Change">[] {
  const settings = { prompts: [literal(words)], threshold: THRESHOLD };
  if (background === undefined) return [{ kind: "add_label", label_set: set, label, settings }];
  const added: Schema<"Change"> = {
    kind: "add_label_set",
    label_set: set,
    settings: { background: [literal(background)], labels: { [label]: settings } },
  };
  return source === undefined ? [added] : [added, { kind: "watch", source, label_set: set }];
}

/** The draft as lines for the configuration. */
export function yamlOf({ set, label, words, background }: Draft): string {
  const otherwise = background === undefined ? "" : `\n    background: [${quoted(literal(background))}]`;
  return `label_sets:
  ${quoted(set)}:${otherwise}
    labels:
      ${quoted(label)}:
        prompts: [${quoted(literal(words))}]
        threshold: ${THRESHOLD}
`;
}

/** A text as YAML reads it: as it is, if that is safe. */
export function quoted(text: string): string {
  const isPlain = /^[A-Za-z][A-Za-z0-9 _-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text) && text === text.trim();
  // JSON is YAML.
  return isPlain ? text : JSON.stringify(text);
}
