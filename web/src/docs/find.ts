// Finds sections of the documentation by words.

import MiniSearch from "minisearch";

/** A section of a page. */
export interface Section {
  address: string;
  /** The title of its page. */
  page: string;
  title: string;
  text: string;
}

/** The most results. */
const MOST = 40;
/** The length of an excerpt, in characters. */
const EXCERPT = 220;

/** An index of sections. */
export class Index {
  readonly #index = new MiniSearch<Section>({
    idField: "address",
    fields: ["title", "page", "text"],
    searchOptions: { boost: { title: 4, page: 2 }, prefix: (term) => term.length > 2, fuzzy: (term) => (term.length > 4 ? 0.2 : false) },
  });
  readonly #sections: Map<string, Section>;

  constructor(sections: Section[]) {
    this.#sections = new Map(sections.map((section) => [section.address, section]));
    this.#index.addAll(sections);
  }

  /** The sections with all of these words, or else with any of them; the best first. `terms` are the words that were found in each. */
  find(words: string): { section: Section; terms: string[] }[] {
    const all = this.#index.search(words, { combineWith: "AND" });
    const found = all.length > 0 ? all : this.#index.search(words);
    return found.slice(0, MOST).flatMap(({ id, terms }) => {
      const section = this.#sections.get(String(id));
      return section ? [{ section, terms }] : [];
    });
  }
}

/** A part of a text, cut into pieces: those that are one of the terms, and those between. It begins shortly before the first term. */
export function excerpt(text: string, terms: string[]): { text: string; isTerm: boolean }[] {
  const pattern = new RegExp(`(${[...terms].sort((a, b) => b.length - a.length).map(escaped).join("|")})`, "giu");
  const first = terms.length > 0 ? text.search(pattern) : -1;
  const start = first > EXCERPT / 3 ? text.indexOf(" ", first - EXCERPT / 3) + 1 : 0;
  const end = text.length > start + EXCERPT ? text.lastIndexOf(" ", start + EXCERPT) : text.length;
  const part = `${start > 0 ? "... " : ""}${text.slice(start, end)}${end < text.length ? " ..." : ""}`;
  if (first < 0) return part ? [{ text: part, isTerm: false }] : [];
  return part.split(pattern).flatMap((piece, at) => (piece ? [{ text: piece, isTerm: at % 2 === 1 }] : []));
}

function escaped(term: string): string {
  return term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
