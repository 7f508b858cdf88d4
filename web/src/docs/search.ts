// The page that searches: it shows results while words are typed, and keeps them in the address.

import { Index, type Section, excerpt } from "./find";

declare global {
  // Set by search-index.js.
  var stakeoutSections: Section[] | undefined;
}

/** Results appear when no key was pressed for this time, in milliseconds. */
const PAUSE = 120;

const input = document.getElementById("search");
const results = document.getElementById("results");
const found = document.getElementById("found");
if (input instanceof HTMLInputElement && results && found) start(input, results, found);

function start(input: HTMLInputElement, results: HTMLElement, found: HTMLElement) {
  const index = new Index(globalThis.stakeoutSections ?? []);
  let timer = 0;
  const show = () => {
    const words = input.value.trim();
    const matches = words ? index.find(words) : [];
    results.replaceChildren(...matches.map(({ section, terms }) => item(section, terms)));
    found.textContent = words ? said(matches.length, words) : "Type what you look for.";
    document.title = words ? `${words} - Search - stakeout` : "Search - stakeout";
  };
  const remember = () => {
    const words = input.value.trim();
    try {
      history.replaceState(null, "", words ? `?q=${encodeURIComponent(words)}` : location.pathname);
    } catch {
      // Some browsers refuse this for a page that is opened from a folder.
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      show();
      remember();
    }, PAUSE);
  });
  input.form?.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    show();
    remember();
  });
  input.value = new URLSearchParams(location.search).get("q") ?? "";
  show();
  input.focus();
}

function said(count: number, words: string): string {
  if (count === 0) return `Nothing was found for "${words}". Try fewer or other words.`;
  return `${count} ${count === 1 ? "section" : "sections"} for "${words}"`;
}

function item({ address, page, title, text }: Section, terms: string[]): HTMLElement {
  const link = document.createElement("a");
  link.href = address;
  link.textContent = title;
  const where = document.createElement("span");
  where.className = "where";
  where.textContent = page === title ? "" : page;
  const words = document.createElement("p");
  for (const piece of excerpt(text, terms)) {
    const part = document.createElement(piece.isTerm ? "mark" : "span");
    part.textContent = piece.text;
    words.append(part);
  }
  const one = document.createElement("li");
  one.append(link, " ", where, words);
  return one;
}
